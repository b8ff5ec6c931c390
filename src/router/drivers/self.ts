/** What `self` makes of an address whose first host is this machine (Exim manual, "Generic options for routers"). */
import type { Domain } from '../../mail/address.ts';
import type { RouteOutcome, RouteRequest } from '../router.ts';

/** @param text says how it was found out */
export function selfOutcome({ self, address }: RouteRequest, text: string): RouteOutcome {
  switch (self.kind) {
    case 'freeze':
    case 'defer':
      return { kind: 'defer', reason: { text, code: '4.4.6' }, freeze: self.kind === 'freeze' };
    case 'fail':
      return { kind: 'fail', reason: { text, code: '5.4.6' } };
    case 'reroute':
      return { kind: 'rerouted', address: { local: address.local, domain: self.domain as Domain } };
    case 'pass':
      return { kind: 'pass', text };
    case 'send':
      throw new Error('self = send is for the router to settle');
  }
}

export const selfHostText = 'remote host address is the local host';
