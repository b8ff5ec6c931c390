/** The stores of a configuration: LMTP servers that deliver into mailboxes of this machine. */
import type { StoreInstance } from '../../config/model.ts';
import { createLmtpServer } from '../../lmtp/server/index.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { formatStoreEvent } from '../../store/events.ts';
import { createStoreHandler } from '../../store/lmtp-handler.ts';
import type { Program } from '../program.ts';
import { deliveryOptions } from './delivery.ts';
import { openDirectories, openDirectory, type OpenDirectories } from './directory.ts';
import { connectText, disconnectText, incidentText } from './incidents.ts';
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
  const directories = openDirectories(program, logs);
  try {
    for (const instance of program.model.stores)
      running.push(await startStore(instance, program, directories, logs));
  } catch (error) {
    await Promise.all(running.map((s) => s.stop(0)));
    throw error;
  }
  return running;
}

/** What has to be closed again. */
interface Part {
  close(): Promise<void>;
}

async function startStore(
  instance: StoreInstance,
  program: Program,
  directories: OpenDirectories,
  logs: Logs,
): Promise<RunningStore> {
  const o = instance.options;
  const hostname = o.hostname ?? program.main.primaryHostname;
  const log = (line: string): void => logs.main(`${instance.name}: ${line}`);
  const tell = (text: string): void => logs.main(logText(text));
  const directory = openDirectory(instance, program, directories);
  /** In the order in which they are closed. */
  const parts: Part[] = [directory];
  const closeParts = async (): Promise<void> => {
    for (const part of parts) await part.close();
  };
  try {
    const plain = openMailStore(instance, program, (text) => tell(`${instance.name}: ${text}`));
    parts.unshift(plain);
    const store = withStoreQuota(plain, instance, program, logs);
    parts[0] = store;
    const transfers = await openTransfers(instance, program.main.spoolDirectory, store, log);
    if (transfers !== undefined) parts.splice(1, 0, transfers);
    const listening: string[] = [];
    const proxy = openProxy(instance, hostname, listening, logs);
    parts.unshift(proxy);
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
        for (const line of formatStoreEvent(event, process.pid)) tell(line);
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
        onConnect: (client) => tell(connectText(client, process.pid)),
        onDisconnect: (end) => tell(disconnectText(end, process.pid)),
        onIncident(incident) {
          const text = incidentText(incident);
          if (text !== undefined) log(text);
        },
      },
      handler,
    );
    parts.unshift({ close: () => server.close(0) });
    await listenEverywhere(server, instance, program, hostname, listening, log);
    parts.shift();
    let closed: Promise<void> | undefined;
    return {
      name: instance.name,
      listening,
      users: directory.list(20),
      stop(graceMs) {
        const ended = server.close(graceMs);
        // A dialogue may be waiting for a backend's answer to RCPT.
        const late = setTimeout(() => void proxy.close(), graceMs).unref();
        return (closed ??= ended.then(() => {
          clearTimeout(late);
          return closeParts();
        }));
      },
    };
  } catch (error) {
    await closeParts();
    throw error;
  }
}
