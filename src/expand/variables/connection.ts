/** Variables of the SMTP connection. Addresses, ports and our own words are clean; what the client chose is tainted. */
import type { VariableRow } from '../evaluator.ts';
import type { ConnectionFacts } from '../scope.ts';

type Read = (c: ConnectionFacts) => string | undefined;

const clean = (read: Read, otherwise = ''): VariableRow => ({
  read: (f) => (f.scope.connection === undefined ? otherwise : (read(f.scope.connection) ?? otherwise)),
});
const wire = (read: Read): VariableRow => ({ ...clean(read), tainted: true });

/** The client's HELO where it says more than its verified name or address literal does. */
function tellingHelo(c: ConnectionFacts): string | undefined {
  const { helo } = c;
  if (helo === undefined || helo === '' || helo === c.hostName) return undefined;
  return helo === `[${c.hostAddress}]` || helo === c.hostAddress ? undefined : helo;
}

function fullHost(c: ConnectionFacts): string {
  const helo = tellingHelo(c);
  const name = c.hostName === undefined ? '' : `${c.hostName} `;
  return c.hostAddress === '' ? '' : `${name}${helo === undefined ? '' : `(${helo}) `}[${c.hostAddress}]`;
}

function receivedHost(c: ConnectionFacts): string {
  if (c.hostAddress === '') return '';
  const helo = tellingHelo(c);
  const heloText = helo === undefined ? '' : `helo=${helo}`;
  if (c.hostName === undefined) return `[${c.hostAddress}]${heloText === '' ? '' : ` (${heloText})`}`;
  return `${c.hostName} ([${c.hostAddress}]${heloText === '' ? '' : ` ${heloText}`})`;
}

const port = (n: number): string => String(n);

export const connectionVariables: Readonly<Record<string, VariableRow>> = {
  sender_host_address: clean((c) => c.hostAddress),
  sender_host_port: clean((c) => port(c.hostPort), '0'),
  sender_host_name: wire((c) => c.hostName),
  sender_helo_name: wire((c) => c.helo),
  sender_fullhost: wire(fullHost),
  sender_rcvhost: wire(receivedHost),
  received_ip_address: clean((c) => c.interfaceAddress),
  interface_address: clean((c) => c.interfaceAddress),
  received_port: clean((c) => port(c.interfacePort), '-1'),
  interface_port: clean((c) => port(c.interfacePort), '-1'),
  received_protocol: clean((c) => c.protocol),
  host_lookup_deferred: clean((c) => (c.hostLookup === 'deferred' ? '1' : '0'), '0'),
  host_lookup_failed: clean((c) => (c.hostLookup === 'failed' ? '1' : '0'), '0'),
  authenticated_id: {
    read: (f) => f.scope.connection?.authenticatedId ?? f.scope.extra?.get('authenticated_id')?.text ?? '',
    tainted: true,
  },
};
