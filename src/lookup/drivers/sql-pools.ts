/** Connections to SQL servers, and questions put to them: what the lookups and the directory of a database share. */
import { messageOf } from './octets.ts';
import type { Loaded } from './optional-package.ts';
import { LateAnswer, withDeadline } from './servers.ts';

/** A connection from a server's pool, or why there is none. */
export type Connected<C> =
  | {
      readonly kind: 'connected';
      readonly connection: C;
      /** Once: gives it back, or up where it is `broken`. */
      release(broken: boolean): void;
    }
  | NoConnection;

type NoConnection =
  /** It would be so at another server too. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unreached'; readonly reason: string };

/** A pool of connections a server. `M` is the package, `C` a connection. */
export interface SqlPools<M, C> {
  /** For messages: `PGSQL`. */
  readonly name: string;
  load(): Promise<Loaded<M>>;
  /** @param server an item of the main option; never rejects */
  connect(module: M, server: string, timeoutMs: number): Promise<Connected<C>>;
  /** The words of a server that processed a question and refused it; undefined for what else went wrong. */
  refusal(thrown: unknown): string | undefined;
  /** Gives up all connections. */
  clear(): void;
}

/** What came of a question. */
export type SqlSaid<R> =
  | { readonly kind: 'result'; readonly result: R }
  | NoConnection
  /** It may have been carried out. `late`: its time was up; else the connection ended, which may have been an old one. */
  | { readonly kind: 'broken'; readonly reason: string; readonly late: boolean }
  /** The package cannot be used. */
  | { readonly kind: 'unusable'; readonly reason: string };

/**
 * Puts a question to one server; never rejects.
 *
 * @param question sends it on a connection
 * @param timeoutMs for connecting, and for the answer
 */
export async function askPool<M, C, R>(
  pools: SqlPools<M, C>,
  server: string,
  question: (connection: C) => Promise<R>,
  timeoutMs: number,
): Promise<SqlSaid<R>> {
  const loaded = await pools.load();
  if (loaded.kind !== 'loaded') return loaded;
  const connected = await pools.connect(loaded.module, server, timeoutMs);
  if (connected.kind !== 'connected') return connected;
  try {
    const result = await withDeadline(question(connected.connection), timeoutMs, () => undefined);
    connected.release(false);
    return { kind: 'result', result };
  } catch (e) {
    const refusal = pools.refusal(e);
    connected.release(refusal === undefined);
    const reason = `${pools.name}: query failed: ${refusal ?? messageOf(e)}`;
    return refusal === undefined
      ? { kind: 'broken', reason, late: e instanceof LateAnswer }
      : { kind: 'refused', reason };
  }
}
