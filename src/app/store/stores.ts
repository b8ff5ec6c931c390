/** The stores of a configuration: LMTP servers that deliver into mailboxes of this machine. */
import type { StoreInstance } from '../../config/model.ts';
import { createLmtpServer } from '../../lmtp/server/index.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { formatStoreEvent } from '../../store/events.ts';
import { createStoreHandler } from '../../store/lmtp-handler.ts';
import type { Program } from '../program.ts';
import { openDirectory } from './directory.ts';
import { incidentText } from './incidents.ts';
import { listenEverywhere } from './listeners.ts';
import { openMailStore } from './mail-store.ts';

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
  const directory = openDirectory(instance, program, logs);
  const store = openMailStore(instance);
  const handler = createStoreHandler({
    directory,
    store,
    hostname,
    recipientDelimiter: o.recipient_delimiter,
    onEvent: (event) => logs.main(logText(formatStoreEvent(event, process.pid))),
  });
  const server = createLmtpServer(
    {
      hostname,
      limits: { maxMessageOctets: o.message_size_limit },
      onIncident: (incident) => logs.main(`${instance.name}: ${incidentText(incident)}`),
    },
    handler,
  );
  const listening: string[] = [];
  try {
    await listenEverywhere(server, instance, listening);
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
      return (closed ??= ended.then(async () => {
        await store.close();
        await directory.close();
      }));
    },
  };
}
