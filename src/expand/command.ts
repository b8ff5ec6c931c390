/** Runs the command of `${run`: no shell, empty standard input, standard output and error read as one text. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { openPipe } from './libc.ts';

export interface CommandLimits {
  /** Longest wait for the end of the output, and as much again for the end of the process. */
  readonly timeoutMs: number;
  readonly maxOctets: number;
}

export interface CommandSetting {
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
}

export type CommandResult =
  /** `code` is 127 where the program cannot be run at all; `output` holds one octet a character. */
  | { readonly kind: 'exited'; readonly code: number; readonly output: string }
  | { readonly kind: 'killed'; readonly signal: number }
  | { readonly kind: 'error'; readonly reason: string };

const notRun: CommandResult = { kind: 'exited', code: 127, output: '' };

/**
 * @param words the program and its arguments, octet strings. A program without a slash is one in `cwd`: there is no search
 *   path, as in Exim
 */
export function runCommand(
  words: readonly string[],
  setting: CommandSetting,
  limits: CommandLimits,
): Promise<CommandResult> {
  const texts = words.map(systemText);
  const [program, ...rest] = texts;
  if (program === undefined || program === '') return Promise.resolve(notRun);
  const args = rest.filter((text) => text !== undefined);
  if (args.length < rest.length)
    return Promise.resolve({
      kind: 'error',
      reason: 'a command argument is not UTF-8 or holds a zero octet, which cannot be handed over',
    });
  let ends: ReturnType<typeof openPipe>;
  try {
    ends = openPipe();
  } catch (e) {
    return Promise.resolve({ kind: 'error', reason: `couldn't create pipe: ${String(e)}` });
  }
  return watch(path.resolve(setting.cwd, program), program, args, ends, setting, limits);
}

/** Undefined where the system refuses the arguments (too long). */
function startChild(
  file: string,
  name: string,
  args: readonly string[],
  output: number,
  setting: CommandSetting,
): ChildProcess | undefined {
  try {
    return spawn(file, args, {
      argv0: name,
      cwd: existsSync(setting.cwd) ? setting.cwd : '/',
      env: { ...setting.environment },
      // A process group of its own, so that all of it can be killed.
      detached: true,
      stdio: ['ignore', output, output],
    });
  } catch {
    return undefined;
  }
}

function watch(
  file: string,
  name: string,
  args: readonly string[],
  ends: ReturnType<typeof openPipe>,
  setting: CommandSetting,
  limits: CommandLimits,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const reader = new Socket({ fd: ends.reader, readable: true, writable: false });
    const child = startChild(file, name, args, ends.writer, setting);
    closeSync(ends.writer);
    if (child === undefined) {
      reader.destroy();
      resolve(notRun);
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    let atEnd = false;
    let result: CommandResult | undefined;
    let timer: NodeJS.Timeout | undefined;
    let settled = false;
    const settle = (r: CommandResult): void => {
      settled = true;
      clearTimeout(timer);
      reader.destroy();
      resolve(r);
    };
    const kill = (reason: string): void => {
      if (settled) return;
      if (child.pid !== undefined) {
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // It is gone already.
        }
      }
      settle({ kind: 'error', reason });
    };
    const proceed = (): void => {
      if (!atEnd || result === undefined) return;
      const output = Buffer.concat(chunks).toString('latin1');
      settle(result.kind === 'exited' ? { ...result, output } : result);
    };
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => kill('command timed out'), limits.timeoutMs);
    };
    wait();
    reader.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.maxOctets) kill(`command wrote more than ${limits.maxOctets} octets`);
      else chunks.push(chunk);
    });
    reader.on('close', () => {
      if (settled) return;
      atEnd = true;
      if (result === undefined) wait();
      proceed();
    });
    reader.on('error', (e) => kill(`reading from command failed: ${e.message}`));
    child.on('error', () => settle(notRun));
    child.on('exit', (code, signal) => {
      result =
        signal === null
          ? { kind: 'exited', code: code ?? 0, output: '' }
          : { kind: 'killed', signal: signalNumber(signal) };
      proceed();
    });
  });
}

function signalNumber(signal: NodeJS.Signals): number {
  return constants.signals[signal];
}

/** Node hands texts to programs in UTF-8: the octets come through where they are UTF-8. */
function systemText(octets: string): string | undefined {
  if (octets.includes('\0')) return undefined;
  const text = Buffer.from(octets, 'latin1').toString('utf8');
  return Buffer.from(text, 'utf8').toString('latin1') === octets ? text : undefined;
}
