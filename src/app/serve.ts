/** Runs what a configuration says until a signal ends it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { splitList } from '../mail/list-text.ts';
import { openLogs, type Logs } from '../observe/logs.ts';
import { type Edge, startEdge } from './edge/edge.ts';
import type { Program } from './program.ts';
import { expandAtStart } from './scope.ts';
import { type RunningStore, startStores } from './stores.ts';
import { version } from './version.ts';

export interface ServeOptions {
  /** Which ends: a store can run without the edge. */
  readonly parts: 'all' | 'stores';
  readonly queueIntervalMs?: number | undefined;
  readonly listen?: string | undefined;
  /** In place of `pid_file_path`. */
  readonly pidFile?: string | undefined;
  /** Called with each line of the main log. */
  readonly echo?: (line: string) => void;
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

/** Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again, and with errors in it the old one goes on. */
export async function serve(first: Program, options: ServeOptions): Promise<void> {
  const signals = watchSignals();
  try {
    for (let program: Program | undefined = first; program !== undefined; )
      program = await serveOnce(program, options, signals);
  } finally {
    signals.close();
  }
}

/** One life of a configuration; gives the one that follows it, or undefined for the end. */
async function serveOnce(
  program: Program,
  options: ServeOptions,
  signals: Signals,
): Promise<Program | undefined> {
  const scope = { main: program.main, services: program.services };
  const logs = openProgramLogs(program, options.echo);
  const pidFile = options.pidFile ?? expandAtStart(program.model.main.pid_file_path, scope);
  let stores: readonly RunningStore[] = [];
  let edge: Edge | undefined;
  try {
    stores = await startStores(program, logs);
    if (options.parts === 'all' && hasEdge(program))
      edge = await startEdge({
        program,
        logs,
        queueIntervalMs: options.queueIntervalMs,
        listen: options.listen,
        serve: true,
      });
    writePidFile(pidFile);
    const where = [
      ...(edge?.addresses ?? []).map((a) => `SMTP on [${a.host}]:${a.port}`),
      ...stores.flatMap((s) => s.listening.map((l) => `LMTP on ${l}`)),
    ];
    logs.main(`mailchute ${version} daemon started: pid=${process.pid}, listening for ${where.join(', ')}`);
    options.onReady({ edge, stores, mainLogFile: logFileOf(program) });
    for (;;) {
      if ((await signals.next()) === 'stop') return undefined;
      const next = options.reload(logs);
      if (next !== undefined) return next;
      logs.panic('SIGHUP: the configuration has errors, the old one goes on');
    }
  } finally {
    // The edge first: while it ends its deliveries, the stores must still answer.
    await edge?.stop();
    await Promise.all(stores.map((s) => s.stop()));
    rmSync(pidFile, { force: true });
    logs.main(`mailchute ${version} daemon stopped: pid=${process.pid}`);
    logs.close();
  }
}

/** A file with nothing but stores is a store. */
function hasEdge({ model }: Program): boolean {
  return (
    splitList(model.main.daemon_smtp_ports).some((p) => p !== '') &&
    (model.routers.length > 0 || model.stores.length === 0)
  );
}

function logFileOf(program: Program): string {
  return expandAtStart(program.model.main.log_file_path, { main: program.main, services: program.services });
}

export function openProgramLogs(program: Program, echo?: (line: string) => void): Logs {
  return openLogs({
    logFilePath: logFileOf(program),
    spoolDirectory: program.main.spoolDirectory,
    ...(echo === undefined ? {} : { echo }),
  });
}

function writePidFile(file: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${process.pid}\n`);
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
