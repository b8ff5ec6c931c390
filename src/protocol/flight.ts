/**
 * Dialogues without sockets: a dialogue is a generator that yields flights (commands written at once, and how many
 * replies are to come) and is resumed with the replies. `net/` has the connection that flies them.
 */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Reply } from '../mail/reply.ts';

/** What follows the commands of a flight: parts held in memory, or a stream opened when it is its turn. */
export type FlightBody = readonly Uint8Array[] | ((signal: AbortSignal) => AsyncIterable<Uint8Array>);

export interface Flight {
  /** Command lines with their CRLF, one octet a character; empty to read on without sending. */
  readonly commands: string;
  readonly body?: FlightBody;
  /** Replies to wait for. */
  readonly expect: number;
  /** Replies that may come by then at the most, `expect` and those of a later flight without commands. Default `expect`. */
  readonly allow?: number;
  /** Longest wait for the next reply, and for each block of a streamed body to be taken, milliseconds. */
  readonly timeoutMs: number;
  readonly blockTimeoutMs?: number;
}

export interface FlightResult {
  /** In order; as many as expected unless there is a fault. */
  readonly replies: readonly Reply[];
  readonly fault?: DialogueFault;
}

export type Dialogue<T> = Generator<Flight, T, FlightResult>;

/** Refuses a text that would smuggle a second command; such a text is a bug of the caller, since parsers make none. */
export function commandLine(text: string): string {
  // A character above 255 would be written as its low octet, which may be one of those.
  if (/[\r\n\0]|[^\x00-\xff]/.test(text))
    throw new RangeError('a command must be octets without CR, LF or NUL');
  return `${text}\r\n`;
}
