// Mailchute itself as a process of its own, as an administrator starts it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { start, type Running } from './process.ts';

export const root: string = path.resolve(import.meta.dirname, '../..');
const program = path.join(root, 'bin/exim');

export interface Mailchute {
  readonly configFile: string;
  readonly spool: string;
  readonly running: Running;
  mainLog(): string;
  stop(): Promise<void>;
  /** kill -9, and gone. */
  kill(): Promise<void>;
}

/**
 * Writes a configuration that keeps everything in `folder` and starts `bin/exim -bdf` with it; resolves when it listens.
 * `main` is more main options, `rest` the sections from `begin acl` on.
 */
export async function startMailchute(
  folder: string,
  main: string,
  rest: string,
  words: readonly string[] = [],
): Promise<Mailchute> {
  mkdirSync(folder, { recursive: true });
  const configFile = path.join(folder, 'mailchute.conf');
  const spool = path.join(folder, 'spool');
  writeFileSync(
    configFile,
    `primary_hostname = mx.example.test
spool_directory = ${spool}
log_file_path = ${folder}/log/%slog
pid_file_path = ${folder}/mailchute.pid
local_interfaces = 127.0.0.1
${main}
${rest}
`,
  );
  return restartMailchute(folder, words);
}

/** Starts again with the configuration that is there. */
export async function restartMailchute(folder: string, words: readonly string[] = []): Promise<Mailchute> {
  const configFile = path.join(folder, 'mailchute.conf');
  const log = path.join(folder, 'log/mainlog');
  const running = start(program, ['-C', configFile, '-bdf', '-q1s', ...words]);
  await running.printed(/^ready$/m);
  return {
    configFile,
    spool: path.join(folder, 'spool'),
    running,
    mainLog: () => (existsSync(log) ? readFileSync(log, 'latin1') : ''),
    stop: () => running.stop(),
    async kill() {
      running.kill('SIGKILL');
      await running.ended;
    },
  };
}
