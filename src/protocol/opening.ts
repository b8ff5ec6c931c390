/** The beginning of a client's dialogue: banner, then LHLO (RFC 2033 §4.1) or EHLO with HELO to fall back on (RFC 5321 §3.2). */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import { isPermanent, isPositive, type Reply } from '../mail/reply.ts';
import { type Capabilities, noCapabilities, parseCapabilities } from './capabilities.ts';
import { commandLine, type Dialogue } from './flight.ts';

export type ClientProtocol = 'smtp' | 'lmtp';

interface Hello {
  readonly kind: 'open';
  readonly capabilities: Capabilities;
}

interface FailedOpening {
  readonly kind: 'failed';
  /** `initial connection`, or the command without CRLF (`LHLO edge.example.test`): Exim's log wording. */
  readonly after: string;
  /** What the peer said; absent where a fault ended the dialogue first. */
  readonly reply?: Reply;
  readonly fault?: DialogueFault;
}

export type Opening = (Hello & { readonly greeting: Reply }) | FailedOpening;

/**
 * @param helo argument of the command
 * @param timeoutMs longest wait for each reply
 * @param plain HELO in place of EHLO (Exim: `hosts_avoid_esmtp`)
 */
export function* openingDialogue(
  protocol: ClientProtocol,
  helo: string,
  timeoutMs: number,
  plain = false,
): Dialogue<Opening> {
  const banner = yield { commands: '', expect: 1, timeoutMs };
  const greeting = banner.replies[0];
  if (greeting === undefined || !isPositive(greeting))
    return failed('initial connection', greeting, banner.fault);

  const hello = yield* plain && protocol === 'smtp'
    ? heloDialogue(helo, timeoutMs)
    : helloDialogue(protocol, helo, timeoutMs);
  return hello.kind === 'open' ? { ...hello, greeting } : hello;
}

/** LHLO or EHLO alone: after the banner, and once more after STARTTLS (RFC 3207 §4.2) and XCLIENT. */
export function* helloDialogue(
  protocol: ClientProtocol,
  helo: string,
  timeoutMs: number,
): Dialogue<Hello | FailedOpening> {
  const command = `${protocol === 'lmtp' ? 'LHLO' : 'EHLO'} ${helo}`;
  const answer = yield { commands: commandLine(command), expect: 1, timeoutMs };
  const reply = answer.replies[0];
  if (reply !== undefined && isPositive(reply)) {
    return { kind: 'open', capabilities: parseCapabilities(reply) };
  }
  if (protocol === 'smtp' && reply !== undefined && isPermanent(reply))
    return yield* heloDialogue(helo, timeoutMs);
  return failed(command, reply, answer.fault);
}

function* heloDialogue(helo: string, timeoutMs: number): Dialogue<Hello | FailedOpening> {
  const command = `HELO ${helo}`;
  const answer = yield { commands: commandLine(command), expect: 1, timeoutMs };
  const reply = answer.replies[0];
  if (reply !== undefined && isPositive(reply)) return { kind: 'open', capabilities: noCapabilities };
  return failed(command, reply, answer.fault);
}

function failed(after: string, reply: Reply | undefined, fault: DialogueFault | undefined): FailedOpening {
  return {
    kind: 'failed',
    after,
    ...(reply === undefined ? {} : { reply }),
    ...(fault === undefined ? {} : { fault }),
  };
}
