/** A large message on its way to the servers while it still comes from its sender. */
import type { MessageSource } from '../../mail/message-source.ts';
import type { DirectDelivery, DirectMessage, DirectResult, DirectTerms } from '../../queue/direct.ts';
import { type GrowingContent, growingContent } from './growing-content.ts';
import type { Streaming } from './streaming.ts';

/** A message below this is handed over when it is whole: it costs the servers one flight then. */
const beginAtOctets = 128 * 1024;

export interface EarlyHandOver {
  /**
   * The next part. When enough has come, `prepare` says what is handed over; undefined: wait for the end of the content.
   * A returned promise: wait before the next part.
   */
  take(chunk: Uint8Array, prepare: () => Promise<Prepared | undefined>): void | Promise<void>;
  /** The content turned out to be such that it must be whole before any server sees it. */
  cancel(reason: string): void;
  /** What is under way; undefined where nothing is. */
  readonly message: DirectMessage | undefined;
  /** The content is whole and the message accepted: lets the servers see its end. Undefined where nothing is under way. */
  end(whole: MessageSource): Promise<DirectResult> | undefined;
  /** The message is not accepted: no server may take what it got for one. Resolves when all have been told. */
  fail(reason: string): Promise<void>;
}

export interface Prepared {
  readonly message: DirectMessage;
  readonly headerSize: number;
}

export function earlyHandOver(
  direct: DirectDelivery,
  terms: DirectTerms,
  declaredOctets: number,
  streaming: Streaming,
): EarlyHandOver {
  let gathered: Uint8Array[] | undefined = [];
  let octets = 0;
  let under: { message: DirectMessage; content: GrowingContent; result: Promise<DirectResult> } | undefined;

  async function begin(prepare: () => Promise<Prepared | undefined>): Promise<void> {
    const start = Buffer.concat(gathered ?? []);
    gathered = undefined;
    const prepared = await prepare();
    if (prepared === undefined || streaming.free <= 0) return;
    const { message, headerSize } = prepared;
    const content = growingContent(start, declaredOctets);
    const result = direct(message, { source: content.source, headerSize, complete: content.complete }, terms);
    streaming.free--;
    const over = (): void => {
      streaming.free++;
      content.unread();
    };
    // Whoever waits for it hears of a fault; nobody may be waiting any more.
    result.then(over, over);
    under = { message, content, result };
  }

  return {
    take(chunk, prepare) {
      if (under !== undefined) return under.content.write(chunk);
      if (gathered === undefined) return undefined;
      gathered.push(chunk);
      octets += chunk.length;
      return octets < beginAtOctets ? undefined : begin(prepare);
    },
    cancel(reason) {
      gathered = undefined;
      under?.content.fail(reason);
      under = undefined;
    },
    get message() {
      return under?.message;
    },
    end(whole) {
      under?.content.finish(whole);
      return under?.result;
    },
    async fail(reason) {
      under?.content.fail(reason);
      await under?.result.catch(() => undefined);
    },
  };
}
