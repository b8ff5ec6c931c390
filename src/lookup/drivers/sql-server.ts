/** What pgsql and mysql share: a query goes to one server after the other. */
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { textOf } from './octets.ts';
import {
  askServers,
  chooseServers,
  type ServerAnswer,
  type ServerLimits,
  type ServerList,
} from './servers.ts';
import { keepsSelects } from './sql-keep.ts';
import { askPool, type SqlPools } from './sql-pools.ts';

/** @param send sends a query, in text, on a connection */
export function createSqlServerLookup<M, C>(
  type: string,
  list: ServerList,
  pools: SqlPools<M, C>,
  limits: ServerLimits,
  send: (connection: C, query: string) => Promise<DriverAnswer>,
): LookupDriver {
  const ask = async (server: string, query: string): Promise<ServerAnswer> => {
    const said = await askPool(pools, server, (connection) => send(connection, query), limits.queryTimeoutMs);
    switch (said.kind) {
      case 'result':
        return said.result;
      case 'unusable':
        return said;
      case 'refused':
        return { kind: 'defer', reason: said.reason };
      case 'unreached':
        return { kind: 'next', reason: said.reason };
      case 'broken':
        // What may have changed data is not sent again.
        return keepsSelects(query) === 0
          ? { kind: 'defer', reason: said.reason }
          : { kind: 'next', reason: said.reason, broken: !said.late };
    }
  };
  return {
    type,
    style: 'query',
    quotes: true,
    keepMs: keepsSelects,
    async find(_, key, options, quoted = false): Promise<DriverAnswer> {
      const chosen = chooseServers(list, key, options, quoted);
      if (typeof chosen === 'string') return { kind: 'defer', reason: chosen };
      const query = textOf(chosen.query);
      if (query === undefined) return { kind: 'defer', reason: `${list.name}: the query is not UTF-8` };
      return askServers(chosen.servers, (server) => ask(server, query));
    },
    close: () => pools.clear(),
  };
}
