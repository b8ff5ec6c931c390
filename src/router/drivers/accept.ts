/** The accept router: takes every address that meets its preconditions (Exim manual, "The accept router"). */
import type { Awaitable } from '../../expand/scope.ts';
import type { RouteOutcome, RouteRequest, RouterDriver } from '../router.ts';

const noHosts = [] as const;

/** It has no private options; hosts are never set. */
export function createAcceptRouter(): RouterDriver {
  return { driver: 'accept', route };
}

function route(request: RouteRequest): Awaitable<RouteOutcome> {
  const chosen = request.transport();
  return chosen instanceof Promise ? chosen.then(finish) : finish(chosen);
}

function finish(chosen: Awaited<ReturnType<RouteRequest['transport']>>): RouteOutcome {
  if (chosen === undefined) return { kind: 'routed', hosts: noHosts };
  if ('problem' in chosen) return { kind: 'defer', reason: chosen.problem };
  return { kind: 'routed', transport: chosen.name, hosts: noHosts };
}
