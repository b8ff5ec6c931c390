// Scopes for the tests of this folder.
import type { AddressFacts, ConnectionFacts, ExpandScope, ExpandServices, MessageFacts } from './scope.ts';

export const services: ExpandServices = {
  lookup: () => ({ kind: 'missing' }),
  matchList: () => ({ kind: 'no' }),
};

export function scopeWith(parts: Partial<ExpandScope> = {}): ExpandScope {
  return {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'example.test',
      qualifyRecipient: 'rcpt.example.test',
      spoolDirectory: '/nonexistent/spool',
      configFile: '/etc/mailchute/mailchute.conf',
    },
    services,
    ...parts,
  };
}

export function addressFacts(parts: Partial<AddressFacts> = {}): AddressFacts {
  return { local: 'joe', domain: 'Example.COM', ...parts };
}

export function connectionFacts(parts: Partial<ConnectionFacts> = {}): ConnectionFacts {
  return {
    hostAddress: '192.0.2.9',
    hostPort: 1234,
    interfaceAddress: '192.0.2.1',
    interfacePort: 25,
    protocol: 'esmtp',
    variables: new Map(),
    ...parts,
  };
}

export function messageFacts(parts: Partial<MessageFacts> = {}): MessageFacts {
  return {
    sender: null,
    declaredSize: -1,
    size: -1,
    bodyIs8bit: false,
    recipients: [],
    rcptCount: 0,
    receivedAtMs: 0,
    variables: new Map(),
    ...parts,
  };
}
