/** A command that speaks the protocol on its standard input and output (Exim manual, "The lmtp transport", `command`). */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { MailError } from '../mail/mail-error.ts';
import { type ByteStream, type ConnectOptions, Inlet } from './byte-stream.ts';
import { systemErrorText } from './system-error.ts';

/** What a command says on its standard error is kept up to here, for the log. */
const maxStderrOctets = 512;
/** From the end of our side, or from SIGTERM, to the next harder measure. */
const graceMs = 2000;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Starts the command directly, not through a shell, with an environment of only PATH. */
export function connectPipe(
  argv: readonly [string, ...string[]],
  options: ConnectOptions,
): Promise<ByteStream> {
  const { promise, resolve, reject } = Promise.withResolvers<ByteStream>();
  const [command, ...args] = argv;
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  });
  const inlet = new Inlet();
  let stderr = '';
  const onAbort = (): void => {
    child.kill('SIGKILL');
    reject(new MailError('ABORTED', 'aborted'));
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const settled = (): void => options.signal?.removeEventListener('abort', onAbort);
  child.once('spawn', () => {
    settled();
    resolve(pipeStream(child, inlet));
  });
  child.once('error', (error) => {
    settled();
    const text = systemErrorText(error);
    reject(new MailError('CONNECT', text, { cause: error }));
    inlet.ended(text);
  });
  child.stdout.on('data', (octets: Buffer) => inlet.received(octets));
  child.stderr.on('data', (octets: Buffer) => {
    stderr = (stderr + octets.toString('latin1')).slice(0, maxStderrOctets);
  });
  child.stdin.on('drain', () => inlet.drained());
  // A command that ends early breaks the pipe; `close` tells it.
  child.stdin.on('error', () => undefined);
  child.stdout.on('error', () => undefined);
  child.once('close', (status, signal) => inlet.ended(failureOf(status, signal, stderr)));
  return promise;
}

function failureOf(status: number | null, signal: string | null, stderr: string): string | undefined {
  if (status === 0 && stderr === '') return undefined;
  const how = signal === null ? `exit status ${status}` : `signal ${signal}`;
  const said = stderr.trim().replace(/[\x00-\x1f\x7f]+/g, ' ');
  return said === '' ? `command ended with ${how}` : `command ended with ${how}: ${said}`;
}

function pipeStream(child: Child, inlet: Inlet): ByteStream {
  let stopping = false;
  const stop = (signals: readonly NodeJS.Signals[]): void => {
    const [signal, ...harder] = signals;
    if (signal === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    const timer = setTimeout(() => stop(harder), graceMs);
    timer.unref();
    child.once('exit', () => clearTimeout(timer));
  };
  return {
    write: (octets) =>
      typeof octets === 'string' ? child.stdin.write(octets, 'latin1') : child.stdin.write(octets),
    finish(text) {
      if (stopping) return;
      stopping = true;
      child.stdin.end(text, 'latin1');
      const timer = setTimeout(() => stop(['SIGTERM', 'SIGKILL']), graceMs);
      timer.unref();
      child.once('exit', () => clearTimeout(timer));
    },
    destroy() {
      stopping = true;
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
      stop(['SIGTERM', 'SIGKILL']);
      inlet.ended(undefined);
    },
    hold(alive) {
      if (alive) child.ref();
      else child.unref();
      // The pipes are sockets at run time, which the types do not tell.
      for (const stream of [child.stdin, child.stdout, child.stderr]) {
        const method: unknown = Reflect.get(stream, alive ? 'ref' : 'unref');
        if (typeof method === 'function') method.call(stream);
      }
    },
    listen: (listener) => inlet.listen(listener),
  };
}
