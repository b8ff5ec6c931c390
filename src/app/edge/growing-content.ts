/** Content that is handed on while it still arrives. */
import { MailError } from '../../mail/mail-error.ts';
import type { MessageSource } from '../../mail/message-source.ts';

export interface GrowingContent {
  readonly source: MessageSource;
  /** Settles when all has come, or nothing more will. */
  readonly complete: Promise<void>;
  /** The next part, which is not changed afterwards. A returned promise: a reader is behind, wait. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** All has come, and may be handed on to its end. `whole` reads it again from the beginning. */
  finish(whole: MessageSource): void;
  /** Readers fail: what they handed on must not be taken for a message. */
  fail(reason: string): void;
}

/** Octets that a reader may be behind; beyond, the sender is held back. */
const maxBehindOctets = 1024 * 1024;

interface Reader {
  readonly chunks: Uint8Array[];
  octets: number;
  wake: (() => void) | undefined;
}

/**
 * @param begin what has come so far: readers that start before more comes begin with it, later ones wait for the whole
 * @param declaredOctets what the sender announced, or 0
 */
export function growingContent(begin: Uint8Array, declaredOctets: number): GrowingContent {
  const readers = new Set<Reader>();
  const { promise: complete, resolve: completed } = Promise.withResolvers<void>();
  let untouched = true;
  let whole: MessageSource | undefined;
  let failure: MailError | undefined;
  let room: (() => void) | undefined;

  const behind = (): boolean => [...readers].some((r) => r.octets > maxBehindOctets);
  const caughtUp = (): void => {
    if (room === undefined || behind()) return;
    room();
    room = undefined;
  };
  const end = (): void => {
    completed();
    for (const reader of readers) reader.wake?.();
  };

  async function* follow(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const reader: Reader = { chunks: [begin], octets: begin.length, wake: undefined };
    readers.add(reader);
    const onAbort = (): void => reader.wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        if (signal.aborted) throw new MailError('ABORTED', 'reading the content was aborted');
        if (failure !== undefined) throw failure;
        const chunk = reader.chunks.shift();
        if (chunk !== undefined) {
          reader.octets -= chunk.length;
          caughtUp();
          yield chunk;
        } else if (whole !== undefined) return;
        else
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      readers.delete(reader);
      caughtUp();
    }
  }

  return {
    complete,
    source: {
      size: Math.max(declaredOctets, begin.length),
      growing: true,
      async *open(signal) {
        if (untouched) {
          yield* follow(signal);
          return;
        }
        await Promise.race([complete, aborted(signal)]);
        if (signal.aborted) throw new MailError('ABORTED', 'reading the content was aborted');
        if (whole === undefined) throw failure ?? new MailError('IO', 'the content is not there');
        yield* whole.open(signal);
      },
    },
    write(chunk) {
      untouched = false;
      for (const reader of readers) {
        reader.chunks.push(chunk);
        reader.octets += chunk.length;
        reader.wake?.();
      }
      if (!behind()) return undefined;
      return new Promise((resolve) => {
        room = resolve;
      });
    },
    finish(source) {
      whole = source;
      end();
    },
    fail(reason) {
      failure = new MailError('ABORTED', reason);
      end();
      room?.();
      room = undefined;
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
