/** `ignore_target_hosts` (Exim manual, "Generic options for routers"). */
import type { RouteRequest } from '../router.ts';

/** The addresses that do not match it; a text says why that cannot be told. */
export async function withoutIgnored(
  addresses: readonly string[],
  request: RouteRequest,
): Promise<readonly string[] | string> {
  if (request.ignoreHost === undefined) return addresses;
  const kept: string[] = [];
  for (const address of addresses) {
    const ignored = await request.ignoreHost(address);
    if (typeof ignored === 'object') return ignored.problem;
    if (!ignored) kept.push(address);
  }
  return kept;
}
