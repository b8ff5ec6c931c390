/** The stores of a configuration: LMTP servers that deliver into mailboxes of this machine. */
import type { StoreInstance } from '../../config/model.ts';
import { createLmtpServer } from '../../lmtp/server/index.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { formatStoreEvent } from '../../store/events.ts';
import { createStoreHandler } from '../../store/lmtp-handler.ts';
import type { Program } from '../program.ts';
import { deliveryOptions } from './delivery.ts';
import { openDirectory } from './directory.ts';
import { incidentText } from './incidents.ts';
import { listenEverywhere } from './listeners.ts';
import { openMailStore } from './mail-store.ts';
import { withStoreQuota } from './quota.ts';
import { openProxy } from './proxy.ts';
import { openTransfers } from './transfers.ts';

export interface RunningStore {
  readonly name: string;
  /** UNIX sockets, and addresses with ports. */
  readonly listening: readonly string[];
  /** Some of its users, for people; undefined where they cannot be listed. */
  readonly users: readonly string[] | undefined;
  /** Takes no more connections; sessions end at their next command, and after `graceMs` in any case. A second call can only shorten it. */
  stop(graceMs: number): Promise<void>;
}

export async function startStores(program: Program, logs: Logs): Promise<readonly RunningStore[]> {
  const running: RunningStore[] = [];
  try {
    for (const instance of program.model.stores) running.push(await startStore(instance, program, logs));
  } catch (error) {
    await Promise.all(running.map((s) => s.stop(0)));
    throw error;
  }
  return running;
}

async function startStore(instance: StoreInstance, program: Program, logs: Logs): Promise<RunningStore> {
  const o = instance.options;
  const hostname = o.hostname ?? program.main.primaryHostname;
  const log = (line: string): void => logs.main(`${instance.name}: ${line}`);
  const directory = openDirectory(instance, program, logs);
  const plain = openMailStore(instance, program, (text) => logs.main(logText(`${instance.name}: ${text}`)));
  const store = withStoreQuota(plain, instance, program, logs);
  const transfers = await openTransfers(instance, program.main.spoolDirectory, store, log);
  const listening: string[] = [];
  const proxy = openProxy(instance, hostname, listening, logs);
  const handler = createStoreHandler({
    directory,
    store,
    proxy,
    hostname,
    recipientDelimiter: o.recipient_delimiter,
    quotaFullTempfail: o.quota_full_tempfail,
    ...deliveryOptions(instance),
    ...(transfers === undefined ? {} : { transfers: transfers.transfers }),
    onEvent: (event) => {
      for (const line of formatStoreEvent(event, process.pid)) logs.main(logText(line));
    },
  });
  const server = createLmtpServer(
    {
      hostname,
      greeting: o.login_greeting,
      limits: { maxMessageOctets: o.message_size_limit, idleTimeoutMs: o.idle_timeout },
      smtputf8: o.smtputf8,
      transfers: transfers !== undefined,
      dsn: o.dsn_parameters ? 'unoffered' : false,
      onIncident: (incident) => log(incidentText(incident)),
    },
    handler,
  );
  try {
    await listenEverywhere(server, instance, program, hostname, listening, log);
  } catch (error) {
    await server.close();
    throw error;
  }
  let closed: Promise<void> | undefined;
  return {
    name: instance.name,
    listening,
    users: directory.list(20),
    stop(graceMs) {
      const ended = server.close(graceMs);
      // A dialogue may be waiting for a backend's answer to RCPT.
      const late = setTimeout(() => void proxy.close(), graceMs).unref();
      return (closed ??= ended.then(async () => {
        clearTimeout(late);
        await proxy.close();
        await store.close();
        await transfers?.close();
        await directory.close();
      }));
    },
  };
}
