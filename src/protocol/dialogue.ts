/**
 * The loop that SMTP and LMTP servers share: frames what the client sends, hands commands and content to the session's
 * logic one at a time, and sees to it that the replies to a pipelined batch leave together (RFC 2920 §3.2).
 * It knows no sockets: `net/server-connection.ts` fits {@link DialogueLink}, and so does a test's array of chunks.
 */
import type { ContentFault } from './content-scanner.ts';
import type { CommandFault, Receiver } from './receiver.ts';

/** Why no more octets come: `end` in order, `lost` broken, `timeout` nothing in time, `stop` the server shuts down. */
export type LinkEnd = 'end' | 'lost' | 'timeout' | 'stop';

export interface DialogueLink {
  /** Whether octets have arrived that were not read yet. */
  readonly hasInput: boolean;
  /** Whether the client leaves so many replies unread that no more should be made. */
  readonly isCongested: boolean;
  /** What has arrived already, without waiting. */
  tryRead(): Buffer | undefined;
  /** Sends what was written and waits for octets. @param stoppable whether a shutdown may end the wait */
  read(timeoutMs: number, stoppable: boolean): Promise<Buffer | LinkEnd>;
  /** Adds to the replies sent by the next read. One octet a character. */
  write(text: string): void;
  /** Lets other connections have their turn. Absent where there are none. */
  breathe?(): Promise<void>;
  /** Waits until the client has taken what was written; false where it does not in time or is gone. */
  drained(timeoutMs: number): Promise<boolean>;
}

/** What is to be read next; `chunkOctets` is the content of a BDAT. `close` ends the dialogue. */
export type Next = 'command' | 'data' | 'close' | { readonly chunkOctets: number };

/** What a protocol makes of commands and content. Methods are called one at a time. */
export interface DialogueLogic {
  /** Whether a shutdown may end the dialogue now, between two commands. Absent: always. */
  mayStop?(): boolean;
  command(line: string): Next | Promise<Next>;
  /** A line that cannot be a command; `next` is not asked for it. */
  commandFault(fault: CommandFault): Next;
  content(chunk: Buffer): void | Promise<void>;
  /** The message is spoilt; its end is still to come and no more content before it. */
  contentFault(fault: ContentFault): void | Promise<void>;
  /** The final dot or the end of a chunk. */
  contentEnd(fault: ContentFault | undefined): Next | Promise<Next>;
  /** The dialogue ends here, not by a `close` of the logic. A last reply may be written. */
  interrupted(how: LinkEnd, during: 'command' | 'content'): void | Promise<void>;
  /**
   * A method above threw or rejected. Within `content` no reply may be given, since its end is still to come and is
   * told as usual: the result is not looked at.
   */
  crashed(error: unknown, during: 'command' | 'content'): Next | Promise<Next>;
}

/**
 * Commands of one client in a row before others have their turn: what one packet brings may be thousands, and a few
 * clients that do nothing else would make all the others wait for seconds.
 */
const commandsInARow = 50;

/** Runs a dialogue from after its greeting to its end. Closing the link is left to the caller. */
export async function runDialogue(
  link: DialogueLink,
  receiver: Receiver,
  logic: DialogueLogic,
  idleTimeoutMs: number,
): Promise<void> {
  let within: 'command' | 'content' = 'command';
  let inARow = 0;
  for (;;) {
    const event = receiver.next();
    if (event.kind === 'need-more') {
      let got: Buffer | LinkEnd | undefined = link.tryRead();
      if (got === undefined) {
        inARow = 0;
        got = await link.read(idleTimeoutMs, within === 'command' && logic.mayStop?.() !== false);
      }
      if (typeof got === 'string') {
        await logic.interrupted(got, within);
        return;
      }
      receiver.push(got);
      continue;
    }
    if (event.kind === 'command' && ++inARow > commandsInARow) {
      inARow = 0;
      await link.breathe?.();
    }
    let next: Next | undefined;
    try {
      switch (event.kind) {
        case 'command': {
          const answer = logic.command(event.line);
          next = answer instanceof Promise ? await answer : answer;
          break;
        }
        case 'command-fault':
          next = logic.commandFault(event.fault);
          break;
        case 'content': {
          const done = logic.content(event.chunk);
          if (done !== undefined) await done;
          break;
        }
        case 'content-fault': {
          const done = logic.contentFault(event.fault);
          if (done !== undefined) await done;
          break;
        }
        case 'content-end':
          next = await logic.contentEnd(event.fault);
      }
    } catch (error) {
      const inContent = event.kind === 'content' || event.kind === 'content-fault';
      const answer = await logic.crashed(error, inContent ? 'content' : 'command');
      next = inContent ? undefined : answer;
    }
    if (next === undefined) continue;
    if (next === 'close') return;
    within = next === 'command' ? 'command' : 'content';
    if (next === 'data') receiver.expectData();
    else if (next !== 'command') receiver.expectChunk(next.chunkOctets);
    // A client that sends without reading gets no further than this.
    if (link.isCongested && !(await link.drained(idleTimeoutMs))) {
      await logic.interrupted('lost', within);
      return;
    }
  }
}
