/** Is the name in HELO the client's own (Exim manual, "helo_verify_hosts")? */
import type { HostFact } from '../../list/model.ts';
import { lowerAscii } from '../../mail/local-part.ts';
import type { EdgeParts } from './parts.ts';

/** `defer`: the DNS could not say. */
export type HeloNamed = 'yes' | 'no' | 'defer';

/** A literal with the client's address, a name of the client, or a name that leads to it. */
export async function heloNamed(
  { clientNames, addressesOf }: Pick<EdgeParts, 'clientNames' | 'addressesOf'>,
  address: string,
  helo: string,
): Promise<HeloNamed> {
  if (helo.startsWith('['))
    return lowerAscii(helo.replace(/^\[(?:IPv6:)?|\]$/gi, '')) === lowerAscii(address) ? 'yes' : 'no';
  const names = await clientNames(address);
  if (has(names, helo)) return 'yes';
  const forward = await addressesOf(helo);
  if (has(forward, address)) return 'yes';
  return forward.kind === 'defer' ? 'defer' : 'no';
}

function has(fact: HostFact, wanted: string): boolean {
  return fact.kind === 'found' && fact.values.some((value) => lowerAscii(value) === lowerAscii(wanted));
}
