/** The ipliteral router: domains that are address literals (Exim manual, "The ipliteral router"). */
import type { RouteOutcome, RouteRequest, RouterDriver } from '../router.ts';
import { asIpAddress } from './host-lookup.ts';
import type { IsLocalAddress } from './local-hosts.ts';
import { selfHostText, selfOutcome } from './self.ts';

/** It has no private options. */
export function createIpliteralRouter(isLocal: IsLocalAddress): RouterDriver {
  return { driver: 'ipliteral', route: (request) => route(isLocal, request) };
}

async function route(isLocal: IsLocalAddress, request: RouteRequest): Promise<RouteOutcome> {
  const { domain } = request.scope.address;
  const text = /^\[(?:ipv6:)?([^\]]*)\]$/i.exec(domain)?.[1];
  const address = text === undefined ? undefined : asIpAddress(text);
  if (address === undefined) return { kind: 'decline' };
  const ignored = await request.ignoreHost?.(address);
  if (typeof ignored === 'object') return { kind: 'defer', reason: { text: ignored.problem } };
  if (ignored === true) return { kind: 'decline', text: 'IP literal host explicitly ignored' };
  if (isLocal(address) && request.self.kind !== 'send') return selfOutcome(request, selfHostText);
  const chosen = await request.transport();
  if (chosen !== undefined && 'problem' in chosen) return { kind: 'defer', reason: chosen.problem };
  return {
    kind: 'routed',
    ...(chosen === undefined ? undefined : { transport: chosen.name }),
    hosts: [{ name: domain, address }],
  };
}
