/** Databases of the driver `sql` that are servers. */
import {
  serverLimits,
  type ServerLimits as LookupLimits,
  type ServerList,
} from '../../lookup/drivers/servers.ts';
import { askPool, type SqlPools } from '../../lookup/drivers/sql-pools.ts';
import { askInTurn, type ServerLimits, type Turn } from './servers.ts';
import type { RowsAnswer, SqlDatabase, SqlQuestion } from './sql.ts';

/**
 * @param name for messages: `PGSQL`
 * @param send sends a question on a connection
 */
export function openSqlServers<M, C>(
  name: string,
  servers: readonly string[],
  limits: ServerLimits,
  poolsOf: (list: ServerList, limits: LookupLimits) => SqlPools<M, C>,
  send: (connection: C, question: SqlQuestion) => Promise<RowsAnswer>,
): SqlDatabase {
  const { timeoutMs, maxConnections } = limits;
  const pools = poolsOf(
    { name, option: 'connect', configured: servers },
    {
      ...serverLimits,
      connectTimeoutMs: timeoutMs / servers.length,
      queryTimeoutMs: timeoutMs,
      maxConnections,
    },
  );
  const ask = async (server: string, question: SqlQuestion, shareMs: number): Promise<Turn<RowsAnswer>> => {
    const said = await askPool(pools, server, (connection) => send(connection, question), shareMs);
    switch (said.kind) {
      case 'result':
        return { kind: 'answer', answer: said.result };
      case 'unusable':
      case 'refused':
        return { kind: 'refused', reason: said.reason };
      case 'unreached':
        return { kind: 'next', reason: said.reason };
      case 'broken':
        return { kind: 'next', reason: said.reason, broken: !said.late };
    }
  };
  return { ask: askInTurn(servers, timeoutMs, ask), close: () => Promise.resolve(pools.clear()) };
}
