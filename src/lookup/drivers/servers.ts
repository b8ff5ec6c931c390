/**
 * Lists of database servers (Exim manual, "More about MySQL, PostgreSQL, Oracle, InterBase, and Redis", "Specifying the
 * server in the query"): tried in order until one has processed the query.
 */
import { splitList } from '../../mail/list-text.ts';
import type { DriverAnswer } from '../lookup.ts';

/**
 * What one server says: an answer, or that the next one is to be tried. `broken`: the connection ended while a question that
 * only reads was under way; it may have been an old one, so the same server is asked again.
 */
export type ServerAnswer =
  | DriverAnswer
  | { readonly kind: 'next'; readonly reason: string; readonly broken?: boolean };

export interface ServerList {
  /** For messages: `PGSQL`. */
  readonly name: string;
  /** The main option: `pgsql_servers`. */
  readonly option: string;
  /** That option's items. */
  readonly configured: readonly string[];
}

/** The servers and the query without what names them; a text says what is wrong. */
export function chooseServers(
  list: ServerList,
  query: string,
  options: readonly string[],
  quoted: boolean,
): { readonly servers: readonly string[]; readonly query: string } | string {
  let named: string | undefined;
  for (const option of options) {
    if (!option.startsWith('servers=')) return `unknown option "${option}" for ${list.name} lookup`;
    named = option.slice('servers='.length);
  }
  let rest = query;
  const old = /^\s*servers\s*=\s*([^;]*);/.exec(query);
  if (old !== null) {
    if (quoted)
      return `servers=... inside a ${list.name} query that contains text from the wire: write it as an option`;
    named = old[1];
    rest = query.slice(old[0].length);
  }
  rest = rest.trimStart();
  if (named === undefined)
    return list.configured.length > 0
      ? { servers: list.configured, query: rest }
      : `no ${list.name} servers defined (${list.option} option)`;
  const servers: string[] = [];
  for (const item of splitList(named)) {
    const full = item.includes('/') ? item : list.configured.find((c) => c.split('/')[0] === item);
    if (full === undefined) return `${list.name} server "${item}" not found in ${list.option}`;
    servers.push(full);
  }
  return { servers, query: rest };
}

/**
 * The last `count` fields between slashes after the host; a text says what is missing, without a password.
 *
 * @param count 3: `host/database/user/password`
 */
export function serverFields(list: ServerList, server: string, count: number): readonly string[] | string {
  const fields: string[] = [];
  let rest = server;
  for (let i = 0; i < count; i++) {
    const slash = rest.lastIndexOf('/');
    if (slash < 0)
      return `incomplete ${list.name} server data: ${i === 0 ? rest : (rest.split('/')[0] ?? '')}`;
    fields.unshift(rest.slice(slash + 1));
    rest = rest.slice(0, slash);
  }
  if (rest.replace(/\([^)]*\)/, '').includes('/'))
    return `unexpected slash in ${list.name} server hostname: ${rest}`;
  return [rest, ...fields];
}

/** Host, port and socket of `host:port(socket)`. */
export function hostField(text: string): {
  host: string;
  port: number | undefined;
  socket: string | undefined;
} {
  const m = /^([^(]*)(?:\(([^)]*)\)?)?/.exec(text);
  const [host, port] = splitPort(m?.[1] ?? '');
  return { host, port, socket: m?.[2] };
}

function splitPort(text: string): [string, number | undefined] {
  const m = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text);
  return m === null ? [text.replace(/^\[(.*)\]$/, '$1'), undefined] : [m[1] ?? m[2] ?? '', Number(m[3])];
}

/** Asks one server after the other. */
export async function askServers<T>(
  servers: readonly T[],
  ask: (server: T) => Promise<ServerAnswer>,
): Promise<DriverAnswer> {
  let reason = 'no server';
  for (const server of servers)
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const r = await ask(server);
      if (r.kind !== 'next') return r;
      ({ reason } = r);
      if (r.broken !== true) break;
    }
  return { kind: 'defer', reason };
}

const maxAttempts = 3;

/** What {@link withDeadline} rejects with. */
export class LateAnswer extends Error {}

/** What is made once a server (a pool, a client), the oldest given up beyond `maxServers`. */
export function perServer<T>(
  make: (server: string) => T,
  giveUp: (made: T) => void,
  maxServers = 50,
): {
  get(server: string): T;
  /** Gives it up; with `only`, where it is that one. */
  drop(server: string, only?: T): void;
  clear(): void;
} {
  const made = new Map<string, T>();
  const drop = (server: string, only?: T): void => {
    const old = made.get(server);
    if (only !== undefined && old !== only) return;
    made.delete(server);
    if (old !== undefined) giveUp(old);
  };
  return {
    get(server) {
      let one = made.get(server);
      if (one !== undefined) return one;
      for (const oldest of made.keys()) if (made.size >= maxServers) drop(oldest);
      one = make(server);
      made.set(server, one);
      return one;
    },
    drop,
    clear() {
      for (const server of made.keys()) drop(server);
    },
  };
}

/** Rejects once the time is up; the work itself is told by `late`. */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number, late: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late();
      reject(new LateAnswer(`no answer in ${timeoutMs / 1000} s`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Times and bounds of the drivers that ask servers. */
export interface ServerLimits {
  readonly connectTimeoutMs: number;
  /** From the question to the answer of one server, connecting included. */
  readonly queryTimeoutMs: number;
  /** Connections to one server. */
  readonly maxConnections: number;
  /** Questions that wait or run at one server; more are deferred. */
  readonly maxWaiting: number;
}

export const serverLimits: ServerLimits = {
  connectTimeoutMs: 5000,
  queryTimeoutMs: 20_000,
  maxConnections: 8,
  maxWaiting: 1000,
};
