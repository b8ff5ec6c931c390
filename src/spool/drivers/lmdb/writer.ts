import { MailError } from '../../../mail/mail-error.ts';
import type { Claim, Hold, RecipientState, SpoolWriter, Submission, WrittenContent } from '../../spool.ts';
import type { QueueId } from '../../../mail/message-id.ts';
import type { MessageSource } from '../../../mail/message-source.ts';
import type { BodyWriter } from './body-files.ts';
import { headerLength, headerScanner, memorySource, type HeaderScanner } from './content.ts';
import type { SpoolContext } from './context.ts';
import {
  encodeMessageInFile,
  finishMessage,
  jsonRoom,
  messageHeaderLength,
  messageJson,
} from './encoding.ts';
import { checkGenerated, insertGenerated, withGenerated } from './generated.ts';
import { firstToken, insertEntry, makeEntry } from './rows.ts';

/** Room beside the content for the JSON of an ordinary submission, so that most messages need one buffer. */
const usualJsonBytes = 2048;
/** What an entry takes in the databases beside its value: pages of the trees, copied and split. */
const overheadBytes = 4096;

interface LargeBody {
  readonly file: BodyWriter;
  readonly headers: HeaderScanner;
  size: number;
}

/** Content is gathered behind the place of the value's header, and goes to a file once it is longer than the limit. */
export function createWriter(
  context: SpoolContext,
  signal: AbortSignal,
  id: QueueId = context.newId(),
): SpoolWriter {
  if (context.closed) throw new MailError('CLOSED', 'the spool is closed');
  if (signal.aborted) throw new MailError('ABORTED', 'the message was given up', { cause: signal.reason });
  let phase: 'open' | 'committed' | 'aborted' = 'open';
  let buffer: Buffer | undefined;
  let end = messageHeaderLength;
  let large: LargeBody | undefined;
  let fault: unknown;

  const spill = (): LargeBody => {
    const body = { file: context.bodies.create(id, context.owners.self), headers: headerScanner(), size: 0 };
    context.unfinished.add(body.file);
    signal.addEventListener('abort', abortNow, { once: true });
    large = body;
    return body;
  };

  const writeLarge = (body: LargeBody, chunk: Uint8Array): void | Promise<void> => {
    body.size += chunk.length;
    if (fault !== undefined) return undefined;
    try {
      context.space.admit(chunk.length, 'file');
    } catch (e) {
      fault = e;
      return undefined;
    }
    body.headers.feed(chunk);
    return body.file.write(chunk);
  };

  const write = (chunk: Uint8Array): void | Promise<void> => {
    if (phase !== 'open') throw new MailError('CLOSED', 'the message was committed or given up before');
    if (large !== undefined) return writeLarge(large, chunk);
    const needed = end + chunk.length;
    if (needed - messageHeaderLength > context.inlineLimitBytes) {
      const gathered = buffer?.subarray(messageHeaderLength, end);
      buffer = undefined;
      const body = spill();
      // The gathered part fits one block, so it never has to wait.
      if (gathered !== undefined) void writeLarge(body, gathered);
      return writeLarge(body, chunk);
    }
    buffer = grown(buffer, end, needed);
    buffer.set(chunk, end);
    end = needed;
    return undefined;
  };

  const abort = async (): Promise<void> => {
    if (phase !== 'open') return;
    phase = 'aborted';
    buffer = undefined;
    // The signal may live for many more messages, and would keep the file's buffers.
    signal.removeEventListener('abort', abortNow);
    await forgetFile();
  };

  const forgetFile = async (): Promise<void> => {
    if (large === undefined) return;
    context.unfinished.delete(large.file);
    await large.file.discard();
  };

  const abortNow = (): void => {
    // The file is an orphan at worst, which the next opening removes.
    abort().catch(() => undefined);
  };

  const commit = async (
    submission: Submission,
    after: number | Hold,
    nowMs: number,
    states?: readonly (RecipientState | undefined)[],
  ): Promise<Claim | undefined> => {
    if (phase === 'aborted' && signal.aborted)
      throw new MailError('ABORTED', 'the message was given up', { cause: signal.reason });
    if (phase !== 'open') throw new MailError('CLOSED', 'the message was committed or given up before');
    if (submission.envelope.recipients.every((_, i) => states?.[i]?.kind === 'done'))
      throw new RangeError('a message in the spool needs a recipient');
    if (signal.aborted || context.closed) {
      await abort();
      throw context.closed
        ? new MailError('CLOSED', 'the spool is closed')
        : new MailError('ABORTED', 'the message was given up', { cause: signal.reason });
    }
    phase = 'committed';
    signal.removeEventListener('abort', abortNow);
    try {
      const birth = { after, nowMs, states };
      return await (large === undefined
        ? commitInline(submission, birth)
        : commitLarge(large, submission, birth));
    } catch (error) {
      await forgetFile();
      throw error;
    }
  };

  const commitInline = (submission: Submission, birth: Birth): Promise<Claim | undefined> => {
    const size = end - messageHeaderLength;
    context.space.admit(size + overheadBytes, 'database');
    const content = buffer === undefined ? Buffer.alloc(0) : buffer.subarray(messageHeaderLength, end);
    const headerSize = headerLength(content);
    const json = messageJson(submission, size, headerSize);
    const target = grown(buffer, end, end + jsonRoom(json));
    const value = finishMessage(target, end, json, 0);
    buffer = undefined;
    return store(
      submission,
      value,
      0,
      memorySource(target.subarray(messageHeaderLength, end)),
      headerSize,
      birth,
    );
  };

  const commitLarge = async (
    body: LargeBody,
    submission: Submission,
    birth: Birth,
  ): Promise<Claim | undefined> => {
    if (fault !== undefined) throw fault;
    context.space.admit(overheadBytes, 'database');
    // The file is durable before the entry that refers to it.
    await body.file.finish();
    const self = context.owners.self;
    const headerSize = body.headers.end();
    const value = encodeMessageInFile(submission, body.size, headerSize, self);
    try {
      const claim = await store(
        submission,
        value,
        self,
        context.bodies.source(id, self, body.size),
        headerSize,
        birth,
      );
      context.unfinished.delete(body.file);
      return claim;
    } catch (error) {
      await context.bodies.remove(id, self);
      throw error;
    }
  };

  const store = async (
    submission: Submission,
    value: Buffer,
    bodyOwner: number,
    content: MessageSource,
    headerSize: number,
    { after, nowMs, states: given }: Birth,
  ): Promise<Claim | undefined> => {
    const hold = typeof after === 'number' ? undefined : after;
    const leaseMs = typeof after === 'number' ? after : 0;
    const dueMs = hold?.nextAttemptAtMs ?? nowMs;
    // Those who are not done are due at once: what is known of when to try them again is recorded next.
    const states = submission.envelope.recipients.map(
      (_, i): RecipientState => given?.[i] ?? { kind: 'pending', nextAttemptAtMs: dueMs, attempts: 0 },
    );
    const claimed = leaseMs > 0;
    const row = {
      owner: claimed ? context.owners.self : 0,
      bodyOwner,
      token: firstToken,
      leaseUntilMs: claimed ? nowMs + leaseMs : 0,
      dueMs,
      frozenAtMs: hold?.frozenAtMs,
      states,
    };
    const { databases, group } = context;
    if (hold?.generated === undefined)
      await group.run('refusable', value.length, () => insertEntry(databases, id, value, row));
    else
      await withGenerated(context, hold.generated, async (generated, bytes) => {
        await group.run('refusable', value.length + bytes, () => {
          checkGenerated(databases, generated);
          insertEntry(databases, id, value, row);
          insertGenerated(databases, generated);
        });
        return { outcome: undefined, stored: true };
      });
    if (!claimed) return undefined;
    const entry = makeEntry(id, { ...submission, size: content.size, headerSize }, states, undefined);
    return { entry, content, token: String(firstToken) };
  };

  const content = async (): Promise<WrittenContent> => {
    if (phase !== 'open') throw new MailError('CLOSED', 'the message was committed or given up before');
    if (large === undefined) {
      const bytes = buffer === undefined ? Buffer.alloc(0) : buffer.subarray(messageHeaderLength, end);
      return { source: memorySource(bytes), headerSize: headerLength(bytes) };
    }
    if (fault !== undefined) throw fault;
    await large.file.settle();
    return {
      source: context.bodies.source(id, context.owners.self, large.size),
      headerSize: large.headers.end(),
    };
  };

  return { id, write, commit, abort, content };
}

/** How a message comes into being. */
interface Birth {
  readonly after: number | Hold;
  readonly nowMs: number;
  readonly states: readonly (RecipientState | undefined)[] | undefined;
}

/** `buffer` with room for `needed` octets, the first `end` of them kept. */
function grown(buffer: Buffer | undefined, end: number, needed: number): Buffer {
  if (buffer !== undefined && buffer.length >= needed) return buffer;
  const next = Buffer.allocUnsafeSlow(
    Math.max(needed + usualJsonBytes, buffer === undefined ? 0 : 2 * buffer.length),
  );
  if (buffer !== undefined) next.set(buffer.subarray(0, end));
  return next;
}
