/** Runs what a configuration says until a signal ends it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { selectedLogItems } from '../config/log-selector.ts';
import { splitList } from '../mail/list-text.ts';
import { keepSockets } from '../net/parked-sockets.ts';
import { logText, printTopBitCharacters } from '../observe/log-text.ts';
import { openLogs, type Logs } from '../observe/logs.ts';
import { type Edge, startEdge } from './edge/edge.ts';
import { type OpenStorage, sharedStorage } from './edge/storage.ts';
import type { Program } from './program.ts';
import { expandAtStart } from './scope.ts';
import { type RunningStore, startStores } from './store/stores.ts';
import { version } from './version.ts';
import { errorText } from '../mail/error-text.ts';

export interface ServeOptions {
  /** Which ends: a store can run without the edge. */
  readonly parts: 'all' | 'stores';
  readonly queueIntervalMs?: number | undefined;
  readonly listen?: string | undefined;
  /** In place of `pid_file_path`. */
  readonly pidFile?: string | undefined;
  /** Called with each line of the main log. */
  readonly echo?: (line: string) => void;
  /** Called with each line of the panic log. */
  readonly complain?: (line: string) => void;
  /** Called when everything listens. */
  readonly onReady: (running: Running) => void;
  /** Reads the configuration again, for SIGHUP; undefined where it has errors, which it has told of. */
  readonly reload: (logs: Logs) => Program | undefined;
}

export interface Running {
  readonly edge: Edge | undefined;
  readonly stores: readonly RunningStore[];
  readonly mainLogFile: string;
}

type Ending = 'stop' | 'reload';

/** At the end of the daemon. */
const stopGraceMs = 10_000;
/** After a reload: as long as a client may think in the middle of a message (RFC 5321 §4.5.3.2.5). */
const reloadGraceMs = 5 * 60_000;

/**
 * Serves until SIGTERM or SIGINT. SIGHUP reads the configuration again: the new one takes the sockets over, so that nobody is
 * turned away, while sessions and deliveries of the old one end beside it. With errors in it the old one goes on.
 */
export async function serve(first: Program, options: ServeOptions): Promise<void> {
  const signals = watchSignals();
  // In the background nobody reads what is said here any more; that must not end the daemon.
  const unheard = (): void => undefined;
  process.stdout.on('error', unheard);
  process.stderr.on('error', unheard);
  const retired = new Set<Life>();
  const openStorage = sharedStorage();
  let closeUnused = (): void => undefined;
  try {
    for (let program: Program | undefined = first; program !== undefined; ) {
      const life: Life = await begin(program, options, openStorage).finally(() => closeUnused());
      program = await nextProgram(life.logs, options, signals);
      if (program === undefined) {
        await end([life, ...retired]);
        life.logs.main(`mailchute ${version} daemon stopped: pid=${process.pid}`);
        life.logs.close();
        if (life.pidFile !== undefined) rmSync(life.pidFile, { force: true });
      } else {
        life.logs.main(`SIGHUP received: pid=${process.pid} serves the configuration as it is now`);
        if (life.pidFile !== undefined) rmSync(life.pidFile, { force: true });
        closeUnused = keepSockets();
        retired.add(life);
        void retire(life).finally(() => retired.delete(life));
      }
    }
  } catch (error) {
    await end([...retired]);
    throw error;
  } finally {
    signals.close();
    process.stdout.off('error', unheard);
    process.stderr.off('error', unheard);
  }
}

/** What serves one reading of the configuration. */
interface Life {
  readonly edge: Edge | undefined;
  readonly stores: readonly RunningStore[];
  readonly logs: Logs;
  readonly pidFile: string | undefined;
  /** Connections to databases go last. */
  readonly closeLookups: () => Promise<void>;
}

async function begin(program: Program, options: ServeOptions, openStorage: OpenStorage): Promise<Life> {
  const scope = { main: program.main, services: program.services };
  const logs = openProgramLogs(program, options.echo, options.complain);
  if (selectedLogItems(program.model.main.log_selector ?? '').has('arguments')) logs.main(argumentsLine());
  // As in Exim: with -oX the usual pid file belongs to another daemon.
  const pidFile =
    options.pidFile ??
    (options.listen === undefined ? expandAtStart(program.model.main.pid_file_path, scope) : undefined);
  let stores: readonly RunningStore[] = [];
  let edge: Edge | undefined;
  try {
    stores = await startStores(program, logs);
    if (options.parts === 'all' && hasEdge(program, options.listen))
      edge = await startEdge({
        openStorage,
        program,
        logs,
        queueIntervalMs: options.queueIntervalMs,
        listen: options.listen,
        serve: true,
      });
    if (edge === undefined && stores.length === 0)
      throw new Error(
        options.parts === 'stores'
          ? 'nothing to serve: the configuration has no stores'
          : 'nothing to serve: daemon_smtp_ports is empty and there are no stores',
      );
    if (pidFile !== undefined) writePidFile(pidFile);
  } catch (error) {
    logs.panic(`daemon not started: ${errorText(error)}`);
    await end([{ edge, stores, logs, pidFile, closeLookups: program.closeLookups }]);
    logs.close();
    throw error;
  }
  const where = [
    ...(edge?.addresses ?? []).map((a) => `SMTP on [${a.host}]:${a.port}`),
    ...stores.flatMap((s) => s.listening.map((l) => `LMTP on ${l}`)),
  ];
  logs.main(`mailchute ${version} daemon started: pid=${process.pid}, listening for ${where.join(', ')}`);
  options.onReady({ edge, stores, mainLogFile: logFileOf(program) });
  return { edge, stores, logs, pidFile, closeLookups: program.closeLookups };
}

/** Waits for the signal that ends a life; gives what follows it, or undefined for the end. */
async function nextProgram(
  logs: Logs,
  options: ServeOptions,
  signals: Signals,
): Promise<Program | undefined> {
  for (;;) {
    if ((await signals.next()) === 'stop') return undefined;
    const next = options.reload(logs);
    if (next !== undefined) return next;
    logs.panic('SIGHUP: the configuration has errors, the old one goes on');
  }
}

/** Ends all. The edges first: while they end their deliveries, the stores must still answer. */
async function end(lives: readonly Life[]): Promise<void> {
  await Promise.all(lives.flatMap((l) => l.edge?.stop(stopGraceMs) ?? []));
  await Promise.all(lives.flatMap((l) => l.stores.map((s) => s.stop(stopGraceMs))));
  await Promise.all(lives.map((l) => l.closeLookups()));
}

/** Gives up all addresses within the call, or leaves them to the next life, and ends with the last session or delivery. */
async function retire({ edge, stores, logs, closeLookups }: Life): Promise<void> {
  try {
    await Promise.all([edge?.stop(reloadGraceMs), ...stores.map((s) => s.stop(reloadGraceMs))]);
  } catch (error) {
    logs.panic(`end of the old configuration: ${errorText(error)}`);
  } finally {
    await closeLookups();
    logs.close();
  }
}

/** What this process was called with; arguments that are empty or have white space are quoted (Exim manual, log selector `arguments`). */
function argumentsLine(): string {
  const [, script = '', ...words] = process.argv;
  const all = [path.basename(script, path.extname(script)), ...words].map((w) =>
    w === '' || /\s/.test(w) ? `"${w}"` : w,
  );
  return logText(`cwd=${process.cwd()} ${all.length} args: ${all.join(' ')}`);
}

/** A file with nothing but stores is a store. */
function hasEdge({ model }: Program, oX: string | undefined): boolean {
  return (
    (oX !== undefined || splitList(model.main.daemon_smtp_ports).some((p) => p !== '')) &&
    (model.routers.length > 0 || model.stores.length === 0)
  );
}

function logFileOf(program: Program): string {
  return expandAtStart(program.model.main.log_file_path, { main: program.main, services: program.services });
}

export function openProgramLogs(
  program: Program,
  echo?: (line: string) => void,
  complain?: (line: string) => void,
): Logs {
  setTimezone(program.model.main.timezone);
  printTopBitCharacters(program.model.main.print_topbitchars);
  return openLogs({
    logFilePath: logFileOf(program),
    spoolDirectory: program.main.spoolDirectory,
    writeRejectLog: program.model.main.write_rejectlog,
    timezone: program.model.main.log_timezone,
    items: selectedLogItems(program.model.main.log_selector ?? ''),
    ...(echo === undefined ? {} : { echo }),
    ...(complain === undefined ? {} : { complain }),
  });
}

const zoneAtStart = process.env['TZ'];

/** `timezone`: an empty value unsets TZ, none leaves what the process was started with (Exim manual, "timezone"). */
function setTimezone(zone: string | undefined): void {
  const wanted = zone === '' ? undefined : (zone ?? zoneAtStart);
  if (wanted === undefined) delete process.env['TZ'];
  else process.env['TZ'] = wanted;
}

function writePidFile(file: string): void {
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, `${process.pid}\n`);
  } catch (cause) {
    throw new Error(`cannot write the pid file (pid_file_path): ${errorText(cause)}`, { cause });
  }
}

interface Signals {
  next(): Promise<Ending>;
  close(): void;
}

function watchSignals(): Signals {
  const came: Ending[] = [];
  let wake: (() => void) | undefined;
  const note = (ending: Ending) => (): void => {
    came.push(ending);
    wake?.();
  };
  const stop = note('stop');
  const reload = note('reload');
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
  return {
    async next() {
      while (came.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return came.shift() ?? 'stop';
    },
    close() {
      process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
    },
  };
}
