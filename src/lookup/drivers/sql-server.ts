/** What pgsql and mysql share: a query goes to one server after the other, by a package that is loaded when it is needed. */
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { messageOf, textOf } from './octets.ts';
import type { Loaded } from './optional-package.ts';
import { askServers, chooseServers, LateAnswer, type ServerAnswer, type ServerList } from './servers.ts';
import { keepsSelects } from './sql-keep.ts';

/**
 * @param load the package
 * @param use called with it before each question
 * @param ask sends a query, in text, to one server
 */
export function createSqlServerLookup<M>(
  type: string,
  list: ServerList,
  load: () => Promise<Loaded<M>>,
  use: (module: M) => void,
  ask: (server: string, query: string) => Promise<ServerAnswer>,
  close: () => void,
): LookupDriver {
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
      const loaded = await load();
      if (loaded.kind !== 'loaded') return loaded;
      use(loaded.module);
      return askServers(chosen.servers, (server) => ask(server, query));
    },
    close,
  };
}

/** A query that broke off: what may have changed data is not sent again. */
export function brokenOff(list: ServerList, query: string, thrown: unknown): ServerAnswer {
  const reason = `${list.name}: query failed: ${messageOf(thrown)}`;
  if (keepsSelects(query) === 0) return { kind: 'defer', reason };
  return { kind: 'next', reason, broken: !(thrown instanceof LateAnswer) };
}
