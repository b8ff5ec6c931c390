/**
 * Runs a job as a given user. Node changes user for the whole process only, so another user's job runs in a process of its
 * own (docs/decisions/0012); so does one that locks files, since fcntl(2) locks belong to a process.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endFrame, frame, maxFrameOctets } from './frames.ts';
import { type Identity, isOwnIdentity } from './identity.ts';
import { type Job, runJob } from './job.ts';
import { deferred, type JobOutcome } from './outcome.ts';
import type { Order } from './worker.ts';
import { errorText } from '../../../mail/error-text.ts';

export interface RunOptions {
  /** A process that takes longer is ended, and killed where it does not end. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

const workerFile = fileURLToPath(
  new URL(`./worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url),
);
const maxAnswerOctets = 4 * 1024 * 1024;
const maxWorkers = 16;
const endGraceMs = 3000;

/** Rejects only when aborted: whether the job was done is unknown then. */
export async function runAs(
  identity: Identity,
  job: Job,
  content: AsyncIterable<Buffer>,
  options: RunOptions,
): Promise<JobOutcome> {
  const own = isOwnIdentity(identity);
  if (own && job.kind !== 'mailbox') return runJob(job, content);
  await turn(options.signal);
  try {
    return await runWorker(own ? { job } : { identity, job }, content, options);
  } finally {
    leave();
  }
}

async function runWorker(
  order: Order,
  content: AsyncIterable<Buffer>,
  { deadlineMs, signal }: RunOptions,
): Promise<JobOutcome> {
  const child = spawn(process.execPath, [workerFile], { cwd: '/', env: {}, stdio: ['pipe', 'pipe', 'pipe'] });
  let late = false;
  let last: NodeJS.Timeout | undefined;
  const kill = (): void => void child.kill('SIGKILL');
  // Without its input a worker takes back what it has written; one that does not is killed.
  const end = (): void => {
    child.stdin.destroy();
    last ??= setTimeout(kill, endGraceMs);
  };
  const timer = setTimeout(() => {
    late = true;
    end();
  }, deadlineMs);
  signal.addEventListener('abort', end, { once: true });
  const answer = collect(child.stdout, kill);
  const complaint = collect(child.stderr, kill);
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', () => resolve(undefined));
  });
  // A worker that answers early closes its input.
  child.stdin.on('error', () => {});
  let unreadable: string | undefined;
  // Not waited for: content that never comes must not outlast the worker.
  void sendOrder(child.stdin, order, content).catch((error: unknown) => {
    // Without the end the worker takes nothing for complete.
    unreadable = errorText(error);
    child.stdin.destroy();
  });
  try {
    const failure = await ended;
    const said = parse(await answer);
    // It may have been through.
    if (said?.kind === 'done') return said;
    signal.throwIfAborted();
    if (unreadable !== undefined) return deferred(`cannot read the message: ${unreadable}`);
    if (late) return deferred(`delivery process took longer than ${Math.round(deadlineMs / 1000)} s`);
    if (failure !== undefined) return deferred(`failed to start a delivery process: ${failure}`);
    return said ?? deferred(`delivery process failed: ${firstLine(await complaint)}`);
  } finally {
    clearTimeout(timer);
    clearTimeout(last);
    signal.removeEventListener('abort', end);
  }
}

async function sendOrder(
  stream: NodeJS.WritableStream,
  order: Order,
  content: AsyncIterable<Buffer>,
): Promise<void> {
  await send(stream, Buffer.from(JSON.stringify(order), 'utf8'));
  for await (const part of content)
    for (let at = 0; at < part.length; at += maxFrameOctets) {
      if (!stream.writable) return;
      await send(stream, part.subarray(at, at + maxFrameOctets));
    }
  if (stream.writable) stream.end(endFrame);
}

async function send(stream: NodeJS.WritableStream, part: Buffer): Promise<void> {
  if (!stream.write(frame(part))) {
    // Whatever comes first: a worker that ends closes the stream.
    const stop = new AbortController();
    await Promise.race(
      ['drain', 'close', 'error'].map((event) =>
        once(stream, event, { signal: stop.signal }).catch(() => undefined),
      ),
    );
    stop.abort();
  }
}

async function collect(stream: NodeJS.ReadableStream, tooMuch: () => void): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  try {
    for await (const chunk of stream) {
      text += String(chunk);
      if (text.length > maxAnswerOctets) {
        tooMuch();
        break;
      }
    }
  } catch {
    // What came counts.
  }
  return text;
}

function parse(text: string): JobOutcome | undefined {
  if (!text.endsWith('\n')) return undefined;
  try {
    return JSON.parse(text) as JobOutcome;
  } catch {
    return undefined;
  }
}

function firstLine(text: string): string {
  return (text.split('\n').find((line) => line.trim() !== '') ?? 'it said nothing').slice(0, 200);
}

let running = 0;
const waiting: (() => void)[] = [];

async function turn(signal: AbortSignal): Promise<void> {
  while (running >= maxWorkers) {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
  running++;
}

function leave(): void {
  running--;
  waiting.shift()?.();
}
