/** Content that is handed on while it still arrives. */
import { MailError } from '../../mail/mail-error.ts';
import { longestPartMs, type MessageSource } from '../../mail/message-source.ts';

export interface GrowingContent {
  readonly source: MessageSource;
  /** True when all has come, false when nothing more will. */
  readonly complete: Promise<boolean>;
  /** The next part, which is not changed afterwards. A returned promise: a reader is behind, or none has begun; wait. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** All has come, and may be handed on to its end. `whole` reads it again from the beginning. */
  finish(whole: MessageSource): void;
  /** Nobody will read it before its end: the sender is not held back any more. */
  unread(): void;
  /** Readers fail: what they handed on must not be taken for a message. */
  fail(reason: string): void;
}

/** Bounds of what is held in memory, and of holding the sender back for it. */
export interface GrowthLimits {
  /** Octets that a reader may be behind; and those that are kept for readers that have not begun. */
  readonly behindOctets: number;
  /** How long the sender waits for the first reader to begin, once so much is kept, milliseconds. */
  readonly firstReaderMs: number;
  /** How long it waits for one that is behind; that one fails then: a server may not keep a sender until its own limit. */
  readonly laggardMs: number;
}

const defaultLimits: GrowthLimits = {
  behindOctets: 1024 * 1024,
  firstReaderMs: 2000,
  laggardMs: longestPartMs,
};

interface Reader {
  readonly chunks: Uint8Array[];
  octets: number;
  wake: (() => void) | undefined;
  /** It was too slow. */
  left: boolean;
}

/**
 * Readers that begin while what has come is still kept read along; later ones wait for the whole.
 *
 * @param begin what has come so far
 * @param declaredOctets what the sender announced, or 0
 */
export function growingContent(
  begin: Uint8Array,
  declaredOctets: number,
  limits: GrowthLimits = defaultLimits,
): GrowingContent {
  const { behindOctets } = limits;
  const readers = new Set<Reader>();
  const { promise: complete, resolve: completed } = Promise.withResolvers<boolean>();
  let kept: Uint8Array[] | undefined = [begin];
  let keptOctets = begin.length;
  let wasRead = false;
  let whole: MessageSource | undefined;
  let failure: MailError | undefined;
  /** The sender waits. */
  let held: { readonly release: () => void; readonly timer: NodeJS.Timeout } | undefined;

  const laggards = (): Reader[] => [...readers].filter((r) => !r.left && r.octets > behindOctets);
  const letGo = (): void => {
    clearTimeout(held?.timer);
    held?.release();
    held = undefined;
  };
  const hold = (ms: number, late: () => void): Promise<void> =>
    new Promise((release) => {
      held = {
        release,
        timer: setTimeout(() => {
          late();
          letGo();
        }, ms),
      };
    });
  const caughtUp = (): void => {
    if (held !== undefined && wasRead && laggards().length === 0) letGo();
  };
  const end = (): void => {
    kept = undefined;
    completed(failure === undefined);
    for (const reader of readers) reader.wake?.();
    letGo();
  };

  async function* follow(sofar: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const reader: Reader = { chunks: [...sofar], octets: keptOctets, wake: undefined, left: false };
    readers.add(reader);
    const onAbort = (): void => reader.wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        if (signal.aborted) throw new MailError('ABORTED', 'reading the content was aborted');
        if (failure !== undefined) throw failure;
        if (reader.left) throw new MailError('ABORTED', 'the server takes it too slowly');
        const chunk = reader.chunks.shift();
        if (chunk !== undefined) {
          reader.octets -= chunk.length;
          caughtUp();
          yield chunk;
          // Who looks at the beginning only does not come back.
          wasRead = true;
          caughtUp();
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
        if (kept !== undefined) {
          yield* follow(kept, signal);
          return;
        }
        await Promise.race([complete, aborted(signal)]);
        if (signal.aborted) throw new MailError('ABORTED', 'reading the content was aborted');
        if (whole === undefined) throw failure ?? new MailError('IO', 'the content is not there');
        yield* whole.open(signal);
      },
    },
    write(chunk) {
      kept?.push(chunk);
      keptOctets += chunk.length;
      for (const reader of readers) {
        if (reader.left) continue;
        reader.chunks.push(chunk);
        reader.octets += chunk.length;
        reader.wake?.();
      }
      if (laggards().length > 0)
        return hold(limits.laggardMs, () => {
          for (const reader of laggards()) {
            reader.left = true;
            reader.chunks.length = 0;
            reader.wake?.();
          }
        });
      if (kept === undefined || keptOctets <= behindOctets) return undefined;
      if (!wasRead)
        return hold(limits.firstReaderMs, () => {
          kept = undefined;
        });
      kept = undefined;
      return undefined;
    },
    finish(source) {
      whole = source;
      end();
    },
    unread() {
      kept = undefined;
      letGo();
    },
    fail(reason) {
      failure ??= new MailError('ABORTED', reason);
      end();
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
