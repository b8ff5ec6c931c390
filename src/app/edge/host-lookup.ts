/** The name of a client by its address (Exim manual, "host_lookup"). */
import type { ConnectionFacts } from '../../expand/scope.ts';
import type { EdgeParts } from './parts.ts';

/** Where the DNS gives a name that leads back to the client, the connection has it from then on; else why it has none. */
export async function lookUpClient(
  { clientNames, logs, logItems }: Pick<EdgeParts, 'clientNames' | 'logs' | 'logItems'>,
  remoteAddress: string,
  connection: ConnectionFacts,
): Promise<void> {
  const found = await clientNames(remoteAddress);
  if (found.kind === 'found') connection.hostName = found.values[0] ?? '';
  else connection.hostLookup = found.kind === 'defer' ? 'deferred' : 'failed';
  if (found.kind !== 'found' && logItems.has('host_lookup_failed'))
    logs.main(`no host name found for IP address ${remoteAddress}`);
}
