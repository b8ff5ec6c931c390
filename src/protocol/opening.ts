/** The beginning of a client's dialogue: banner, then LHLO (RFC 2033 §4.1) or EHLO with HELO to fall back on (RFC 5321 §3.2). */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import { isPermanent, isPositive, type Reply } from '../mail/reply.ts';
import { type Capabilities, noCapabilities, parseCapabilities } from './capabilities.ts';
import { commandLine, type Dialogue } from './flight.ts';

export type ClientProtocol = 'smtp' | 'lmtp';

export type Opening =
  | { readonly kind: 'open'; readonly capabilities: Capabilities; readonly greeting: Reply }
  | {
      readonly kind: 'failed';
      /** `initial connection`, or the command without CRLF (`LHLO edge.example.test`): Exim's log wording. */
      readonly after: string;
      /** What the peer said; absent where a fault ended the dialogue first. */
      readonly reply?: Reply;
      readonly fault?: DialogueFault;
    };

/** @param helo argument of the command @param timeoutMs longest wait for each reply */
export function* openingDialogue(
  protocol: ClientProtocol,
  helo: string,
  timeoutMs: number,
): Dialogue<Opening> {
  const banner = yield { commands: '', expect: 1, timeoutMs };
  const greeting = banner.replies[0];
  if (greeting === undefined || !isPositive(greeting))
    return failed('initial connection', greeting, banner.fault);

  let command = `${protocol === 'lmtp' ? 'LHLO' : 'EHLO'} ${helo}`;
  let answer = yield { commands: commandLine(command), expect: 1, timeoutMs };
  let reply = answer.replies[0];
  if (reply !== undefined && isPositive(reply)) {
    return { kind: 'open', capabilities: parseCapabilities(reply), greeting };
  }
  if (protocol === 'smtp' && reply !== undefined && isPermanent(reply)) {
    command = `HELO ${helo}`;
    answer = yield { commands: commandLine(command), expect: 1, timeoutMs };
    reply = answer.replies[0];
    if (reply !== undefined && isPositive(reply))
      return { kind: 'open', capabilities: noCapabilities, greeting };
  }
  return failed(command, reply, answer.fault);
}

function failed(after: string, reply: Reply | undefined, fault: DialogueFault | undefined): Opening {
  return {
    kind: 'failed',
    after,
    ...(reply === undefined ? {} : { reply }),
    ...(fault === undefined ? {} : { fault }),
  };
}
