/** `-bd`: a process of its own that outlives the terminal. */
import { spawn } from 'node:child_process';
import path from 'node:path';

/** How long the daemon may take until it listens. */
const startTimeoutMs = 60_000;

/**
 * Starts the same program with `-bdf` in place of `-bd`, in a session of its own, and waits until it says that it is
 * ready; what it says before goes to this terminal. Gives the exit code: 0 when the daemon runs.
 */
export function startInBackground(program: 'exim', words: readonly string[]): Promise<number> {
  const launcher = path.resolve(import.meta.dirname, '../../bin', program);
  const rest = words.map((w) => (w === '-bd' ? '-bdf' : w));
  const child = spawn(launcher, rest, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  return new Promise((resolve) => {
    let said = '';
    const finish = (code: number): void => {
      clearTimeout(timer);
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      resolve(code);
    };
    const timer = setTimeout(() => {
      console.error(`${program}: the daemon did not get ready in ${startTimeoutMs / 1000} s`);
      child.kill('SIGTERM');
      finish(1);
    }, startTimeoutMs);
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (/^ready$/m.test(said)) finish(0);
    });
    child.stderr.pipe(process.stderr);
    child.on('error', (error) => {
      console.error(`${program}: ${error.message}`);
      finish(1);
    });
    // Not on 'exit': what it said last would be lost.
    child.on('close', (code) => finish(code ?? 1));
  });
}
