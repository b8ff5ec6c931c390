/** The pipe transport's own part: runs a command with the message on its standard input (Exim manual, "The pipe transport"). */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import path from 'node:path';
import { isOwnIdentity, type Identity } from './local/identity.ts';
import type { JobOutcome } from './local/outcome.ts';
import { errorText } from '../../mail/error-text.ts';

export interface PipeCommand {
  /** The transport's name, for messages. */
  readonly transport: string;
  /** The command as the configuration or an address has it, for messages. */
  readonly text: string;
  /** The program, absolute or looked for in `path`, and its arguments; octet strings. */
  readonly argv: readonly [string, ...string[]];
  /** Directories parted by colons. */
  readonly path: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly identity: Identity;
  readonly currentDirectory: string;
  readonly umask: number;
  /** 0 for none: then {@link longestMs} holds. */
  readonly timeoutMs: number;
  readonly timeoutDefer: boolean;
  readonly maxOutput: number;
  readonly ignoreStatus: boolean;
  /** Exit codes of temporary failures; `*` for all. */
  readonly tempErrors: '*' | readonly number[];
  readonly freezeExecFail: boolean;
  readonly freezeSignal: boolean;
}

/** What the command came to. `output` is what it wrote on both outputs, bounded, one octet a character. */
export interface PipeResult {
  readonly outcome: JobOutcome;
  readonly output: string;
}

/** No command runs longer, whatever its timeout. */
const longestMs = 24 * 3_600_000;
const notExecuted = 127;
const cutMark = '\n\n*** Too much output - remainder discarded ***\n';

/** Rejects only when aborted. */
export async function runPipe(
  command: PipeCommand,
  content: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<PipeResult> {
  if (!isDirectory(command.currentDirectory))
    return {
      outcome: { kind: 'deferred', text: `failed to chdir to ${command.currentDirectory}` },
      output: '',
    };
  const texts = command.argv.map(systemText);
  const [name] = command.argv;
  if (texts.includes(undefined))
    return { outcome: { kind: 'deferred', text: 'an argument cannot be handed to a program' }, output: '' };
  const args = texts.filter((t) => t !== undefined);
  const file = find(args[0] ?? '', command);
  if (file === undefined) return { outcome: exited(command, notExecuted), output: '' };
  const words = args.slice(1);
  // A shell sets the umask of the command, since ours is the whole process's.
  const wrapped = process.umask() !== command.umask;
  const run = wrapped ? '/bin/sh' : file;
  const runArgs = wrapped
    ? ['-c', `umask ${command.umask.toString(8)} && exec "$@"`, 'sh', file, ...words]
    : words;
  const { identity } = command;
  signal.throwIfAborted();
  const child = spawn(run, runArgs, {
    argv0: wrapped ? 'sh' : name,
    cwd: command.currentDirectory,
    env: { ...command.environment, PATH: command.path },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(isOwnIdentity(identity) ? {} : { uid: identity.uid, gid: identity.gid }),
  });
  let why: 'timeout' | 'output' | 'abort' | undefined;
  const kill = (reason: typeof why): void => {
    why ??= reason;
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  };
  const limitMs = command.timeoutMs > 0 ? Math.min(command.timeoutMs, longestMs) : longestMs;
  const timer = setTimeout(() => kill('timeout'), limitMs);
  const abort = (): void => kill('abort');
  signal.addEventListener('abort', abort, { once: true });
  let output = '';
  const take = (chunk: Buffer): void => {
    output += chunk.toString('latin1').slice(0, command.maxOutput + 1 - output.length);
    if (output.length > command.maxOutput) kill('output');
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  // A command need not read all of its input.
  child.stdin.on('error', () => {});
  const end = new Promise<{ code: number | null; sign: NodeJS.Signals | null; error?: Error }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, sign: null, error }));
    child.once('close', (code, sign) => resolve({ code, sign }));
  });
  let unreadable: string | undefined;
  // Not waited for: content that never comes must not outlast the command.
  void feed(child.stdin, content).catch((error: unknown) => {
    unreadable = errorText(error);
    kill('abort');
  });
  try {
    const { code, sign, error } = await end;
    child.stdin.destroy();
    signal.throwIfAborted();
    const outcome = judge();
    return { outcome, output: why === 'output' ? `${output.slice(0, command.maxOutput)}${cutMark}` : output };

    function judge(): JobOutcome {
      if (unreadable !== undefined)
        return { kind: 'deferred', text: `cannot read the message: ${unreadable}` };
      if (error !== undefined) return startFailure(error, command);
      if (why === 'timeout')
        return {
          kind: command.timeoutDefer ? 'deferred' : 'failed',
          text: 'pipe delivery process timed out',
        };
      if (why === 'output') return signalled(command, 'SIGKILL');
      return sign === null ? exited(command, code ?? 0) : signalled(command, sign);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

async function feed(stream: NodeJS.WritableStream, content: AsyncIterable<Buffer>): Promise<void> {
  for await (const part of content) {
    if (!stream.writable) return;
    if (stream.write(part)) continue;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done);
        stream.off('close', done);
        resolve();
      };
      stream.on('drain', done);
      stream.on('close', done);
    });
  }
  stream.end();
}

/** A program without a slash is looked for in the path; undefined where it is not there. */
function find(program: string, { path: directories }: PipeCommand): string | undefined {
  if (program.includes('/')) return executable(program) ? program : undefined;
  return directories
    .split(':')
    .filter((d) => d !== '')
    .map((d) => path.join(d, program))
    .find(executable);
}

function isDirectory(name: string): boolean {
  return statSync(name, { throwIfNoEntry: false })?.isDirectory() === true;
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function exited(command: PipeCommand, code: number): JobOutcome {
  if (code === 0) return { kind: 'done' };
  if (code === notExecuted && command.freezeExecFail)
    return {
      kind: 'deferred',
      text: `pipe process failed to exec "${command.text}"`,
      freeze: true,
    };
  if (command.ignoreStatus) return { kind: 'done' };
  const temporary = command.tempErrors === '*' || command.tempErrors.includes(code);
  return {
    kind: temporary ? 'deferred' : 'failed',
    text: `Child process of ${command.transport} transport returned ${code}${meaning(code)} from command: ${command.argv[0]}`,
  };
}

function signalled(command: PipeCommand, sign: NodeJS.Signals): JobOutcome {
  if (!command.freezeSignal && command.ignoreStatus) return { kind: 'done' };
  const text = `Child process of ${command.transport} transport (running command "${command.text}") was terminated by signal ${system.signals[sign]} (${signalNames.get(sign) ?? sign})`;
  return command.freezeSignal ? { kind: 'deferred', text, freeze: true } : { kind: 'failed', text };
}

function meaning(code: number): string {
  const known = exitMeanings.get(code);
  if (known !== undefined) return ` (could mean ${known})`;
  // A shell tells so that a signal ended its command.
  const sign = Object.entries(system.signals).find(([, number]) => number === code - 128)?.[0];
  return code > 128 && sign !== undefined
    ? ` (could mean shell command ended by signal ${code - 128} (${signalNames.get(sign) ?? sign}))`
    : '';
}

const signalNames: ReadonlyMap<string, string> = new Map([
  ['SIGHUP', 'Hangup'],
  ['SIGINT', 'Interrupt'],
  ['SIGABRT', 'Aborted'],
  ['SIGKILL', 'Killed'],
  ['SIGSEGV', 'Segmentation fault'],
  ['SIGPIPE', 'Broken pipe'],
  ['SIGALRM', 'Alarm clock'],
  ['SIGTERM', 'Terminated'],
]);

function startFailure(error: Error, command: PipeCommand): JobOutcome {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'EACCES') return exited(command, notExecuted);
  return { kind: 'deferred', text: `couldn't create child process: ${error.message}` };
}

/** Node hands texts to programs in UTF-8: the octets come through where they are UTF-8. */
function systemText(octets: string): string | undefined {
  if (octets.includes('\0')) return undefined;
  const text = Buffer.from(octets, 'latin1').toString('utf8');
  return Buffer.from(text, 'utf8').toString('latin1') === octets ? text : undefined;
}

/** What exit codes mean (sysexits.h), in Exim's words. */
const exitMeanings: ReadonlyMap<number, string> = new Map([
  [64, 'usage or syntax error'],
  [65, 'error in input data'],
  [66, 'input data missing'],
  [67, 'user nonexistent'],
  [68, 'host nonexistent'],
  [69, 'service or program unavailable'],
  [70, 'internal software error'],
  [71, 'internal operating system error'],
  [72, 'system file missing'],
  [73, "can't create output file"],
  [74, 'input/output error'],
  [75, 'temporary error'],
  [76, 'protocol error'],
  [77, 'permission denied'],
  [78, 'configuration error'],
  [127, 'unable to exec or command does not exist'],
]);
