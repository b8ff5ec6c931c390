// Child processes of tests and benchmarks: started, watched and stopped by pid, never by name.
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export interface Running {
  readonly pid: number;
  /** All it printed so far, standard output and error together. */
  output(): string;
  /** Resolves once the output matches; rejects with the output when the program ends first or the time is up. */
  printed(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when that does not help within the time; resolves when it is gone. */
  stop(timeoutMs?: number): Promise<void>;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export function start(program: string, words: readonly string[], options: StartOptions = {}): Running {
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    env: { ...process.env, ...options.env },
  });
  return watch(child, `${program} ${words.join(' ')}`);
}

function watch(child: ChildProcess, name: string): Running {
  let text = '';
  const waiting = new Set<() => void>();
  const take = (chunk: Buffer): void => {
    text += chunk.toString('latin1');
    for (const check of waiting) check();
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
  let over = false;
  const ended = new Promise<number | string>((resolve) => {
    child.on('error', (error) => {
      text += String(error);
      over = true;
      resolve(-1);
    });
    child.on('close', (code, signal) => {
      over = true;
      resolve(code ?? signal ?? -1);
      for (const check of waiting) check();
    });
  });
  const running: Running = {
    pid: child.pid ?? -1,
    output: () => text,
    ended,
    kill: (signal) => void child.kill(signal),
    printed: (pattern, timeoutMs = 20_000) =>
      new Promise((resolve, reject) => {
        const done = (): void => {
          waiting.delete(check);
          clearTimeout(timer);
        };
        const check = (): void => {
          const m = pattern.exec(text);
          if (m !== null) {
            done();
            resolve(m);
          } else if (over) {
            done();
            reject(new Error(`${name} ended before it printed ${pattern}:\n${text}`));
          }
        };
        const timer = setTimeout(() => {
          done();
          reject(new Error(`${name} did not print ${pattern} in ${timeoutMs} ms:\n${text}`));
        }, timeoutMs);
        waiting.add(check);
        check();
      }),
    async stop(timeoutMs = 5000) {
      if (over) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      await ended;
      clearTimeout(timer);
    },
  };
  return running;
}

/** Runs a program to its end, with a deadline; gives exit code and output. */
export async function runToEnd(
  program: string,
  words: readonly string[],
  options: StartOptions & { readonly timeoutMs?: number } = {},
): Promise<{ readonly code: number | string; readonly output: string }> {
  const running = start(program, words, options);
  const timer = setTimeout(() => running.kill('SIGKILL'), options.timeoutMs ?? 60_000);
  const code = await running.ended;
  clearTimeout(timer);
  return { code, output: running.output() };
}

/**
 * A TCP port on loopback that was free a moment ago. It lies below those that Linux gives to outgoing connections, or one of
 * them could have it when a server that was stopped comes back.
 */
export function freePort(tries = 50): Promise<number> {
  const port = 10_240 + Math.floor(Math.random() * (32_768 - 10_240));
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (error) => (tries > 1 ? resolve(freePort(tries - 1)) : reject(error)));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(port)));
  });
}

/** Whether a TCP port of an IPv4 address is listened on, without connecting to it (proc(5), state 0A). */
export function isListening(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return new RegExp(`:${hex} 00000000:0000 0A `).test(readFileSync('/proc/net/tcp', 'latin1'));
}

/** A new temporary folder that other users may enter; the caller removes it with the function it gets. */
export function temporaryFolder(name: string): { readonly path: string; remove(): void } {
  const folder = mkdtempSync(path.join(os.tmpdir(), `mailchute-${name}-`));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Waits until `check` gives something other than undefined or false; rejects with `what` when the time is up. */
export async function until<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  what: string | (() => string),
  timeoutMs = 20_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end)
      throw new Error(
        `gave up after ${timeoutMs} ms waiting until ${typeof what === 'string' ? what : what()}`,
      );
    await pause(20);
  }
}
