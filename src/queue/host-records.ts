/** What the retry hints say of hosts, for people (Exim's `exinext`). */
import type { Hints } from '../hints/hints.ts';
import { type HostRecord, isHostRecord } from './host-gate.ts';

export interface HostState extends HostRecord {
  readonly transport: string;
  /** Absent where the transport knows its own destination. */
  readonly host?: { readonly name: string; readonly address: string; readonly port?: number };
}

/** Every host that failed last time, in the order of transports and names; a record of another shape counts as none. */
export function* hostStates(hints: Hints, nowMs: number): Generator<HostState> {
  for (const [key, record] of hints.entries('retry', 'T:', nowMs)) {
    const place = readHostKey(key);
    if (place !== undefined && isHostRecord(record)) yield { ...record, ...place };
  }
}

/** `T:transport` or `T:transport:name:address:port`; an IPv6 address has colons of its own. */
function readHostKey(key: string): Pick<HostState, 'transport' | 'host'> | undefined {
  const m = /^T:([^:]*)(?::(.*):(\d*))?$/s.exec(key);
  if (m === null) return undefined;
  const [, transport = '', place, port = ''] = m;
  if (place === undefined) return { transport };
  // A host given by its address has that for its name.
  const half = (place.length - 1) / 2;
  const twice = place[half] === ':' && place.slice(0, half) === place.slice(half + 1);
  const cut = twice ? half : place.indexOf(':');
  if (cut < 0) return undefined;
  return {
    transport,
    host: {
      name: place.slice(0, cut),
      address: place.slice(cut + 1),
      ...(port === '' ? {} : { port: Number(port) }),
    },
  };
}
