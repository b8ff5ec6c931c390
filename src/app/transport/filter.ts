/** `transport_filter`: a command through which a message goes on its way out (Exim manual, "Generic options for transports"). */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { commandWords } from '../../expand/command-words.ts';
import { openPipe } from '../../expand/libc.ts';
import { formatAddress } from '../../mail/address.ts';
import { errorText } from '../../mail/error-text.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { timerMs } from '../../mail/time-interval.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { localContent } from '../../transport/drivers/local/content.ts';
import type { Identity } from '../../transport/drivers/local/identity.ts';
import { expandRequired, putOff } from './expand-options.ts';

/** A filter may make a message larger, but not without bound: the result is held in memory. */
const maxOctets = 64 * 1024 * 1024;

const asItIs = { prefix: '', suffix: '', bodyOnly: false, useCrlf: false };

export interface FilterSetting {
  readonly transport: string;
  readonly command: string;
  /** Longest wait for more of the output. */
  readonly timeoutMs: number;
  readonly identity: Identity;
}

/**
 * The message as the command gives it, lines ended by LF on both sides; `$host` is the first host to be tried. Nothing is kept until the delivery has its outcome,
 * so that a filter is run again after a crash. Throws a DeliveryStop that puts the delivery off where it fails.
 */
export async function filtered(
  setting: FilterSetting,
  delivery: DeliveryAtHand,
  signal: AbortSignal,
): Promise<MessageSource> {
  const words = await wordsOf(setting, delivery);
  const [program, ...rest] = words;
  if (program === undefined || !program.startsWith('/'))
    throw putOff(
      `transport filter of ${setting.transport} transport is not an absolute path: ${setting.command}`,
    );
  const output = await run(program, rest, setting, delivery.batch.message, signal);
  const text = output.toString('latin1').replace(/\r?\n/g, '\r\n');
  // SMTP has no last line without an end.
  const bytes = Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1');
  return {
    size: bytes.length,
    bytes,
    open: async function* (): AsyncGenerator<Uint8Array> {
      yield bytes;
    },
  };
}

async function wordsOf(
  { transport, command }: FilterSetting,
  { batch, scope: known }: DeliveryAtHand,
): Promise<readonly string[]> {
  const [host] = batch.hosts;
  const scope: DeliveryAtHand['scope'] = {
    ...known,
    address: {
      ...known.address,
      ...(host === undefined ? {} : { host: host.name }),
      ...(host?.address === undefined ? {} : { hostAddress: host.address }),
    },
  };
  const words: string[] = [];
  for (const word of commandWords(command)) {
    if (word === '$pipe_addresses') words.push(...batch.recipients.map((r) => formatAddress(r.address)));
    // A host is a word of its own, as in the manual's example, whoever named it.
    else if (word === '$host') words.push(host?.name ?? '');
    else {
      const { text, tainted } = await expandRequired(
        word,
        `transport filter of ${transport} transport`,
        scope,
      );
      if (tainted)
        throw putOff(`Tainted arg ${words.length} for ${transport} transport filter command: '${text}'`);
      words.push(text);
    }
  }
  return words.map((word) => Buffer.from(word.replaceAll('\0', ''), 'latin1').toString('utf8'));
}

async function run(
  program: string,
  args: readonly string[],
  { transport, timeoutMs, identity }: FilterSetting,
  message: MessageSource,
  signal: AbortSignal,
): Promise<Buffer> {
  const failed = (why: string): Error => putOff(`transport filter process failed ${why}`);
  const ends = openPipe();
  const reader = new Socket({ fd: ends.reader, readable: true, writable: false });
  const own = identity.uid === process.geteuid?.();
  const child = spawn(program, args, {
    cwd: '/',
    env: { PATH: '/bin:/usr/bin', SHELL: '/bin/sh' },
    // A process group of its own, so that all of it can be killed.
    detached: true,
    ...(own ? {} : { uid: identity.uid, gid: identity.gid }),
    stdio: ['pipe', ends.writer, ends.writer],
  });
  closeSync(ends.writer);
  const stop = (): void => {
    reader.destroy();
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  };
  const ended = new Promise<string | undefined>((resolve) => {
    child.on('error', () => resolve('(127): unable to execute command'));
    child.on('exit', (code, killed) => resolve(code === 0 ? undefined : `(${killed ?? code})`));
  });
  const chunks: Buffer[] = [];
  let octets = 0;
  let timer: NodeJS.Timeout | undefined;
  const gathered = new Promise<string | undefined>((resolve) => {
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(
        () => resolve(`in ${transport} transport: timeout after ${timeoutMs / 1000}s`),
        timerMs(timeoutMs),
      );
    };
    wait();
    reader.on('data', (chunk: Buffer) => {
      octets += chunk.length;
      chunks.push(chunk);
      if (octets > maxOctets) resolve(`in ${transport} transport: more than ${maxOctets} octets of output`);
      wait();
    });
    reader.on('error', (error) => resolve(`in ${transport} transport: ${errorText(error)}`));
    reader.on('close', () => {
      void ended.then(resolve);
    });
    signal.addEventListener('abort', () => resolve('since delivery was aborted'), { once: true });
  });
  // A filter need not read all; what matters is what it writes and how it ends.
  const content = Readable.from(localContent(message, asItIs, signal));
  const fed = pipeline(content, child.stdin as Writable, { signal }).then(
    () => undefined,
    (error: NodeJS.ErrnoException) =>
      error.code === 'EPIPE' || error.code === 'ERR_STREAM_PREMATURE_CLOSE'
        ? undefined
        : `in ${transport} transport: ${errorText(error)}`,
  );
  try {
    // Where the message could not be read to its end, what came out is not the message.
    const problem = (await gathered) ?? (await fed);
    signal.throwIfAborted();
    if (problem !== undefined) throw failed(problem);
    return Buffer.concat(chunks);
  } finally {
    clearTimeout(timer);
    stop();
  }
}
