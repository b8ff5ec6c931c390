/** Callout results in the words of Exim 4.96: replies to the client, and lines of the main log. */
import { assertNever } from '../mail/assert-never.ts';
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import { type Reply, replySummary, reply as simpleReply } from '../mail/reply.ts';
import type { CalloutAnswer } from './callout-answer.ts';

type Refused = Omit<Extract<CalloutAnswer, { kind: 'refused' }>, 'kind'>;
type Unclear = Extract<CalloutAnswer, { kind: 'unclear' }>;

/** `127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after RCPT TO:<x@example.test>: 550 unknown`. */
export function refusedLog(a: Refused): string {
  const said = replySummary(a.reply);
  if (a.stage === 'mail') return `${peerName(a.peer)} : response to "${a.after}" was: ${said}`;
  return `${peerName(a.peer)} : SMTP error from remote mail server after ${a.after}: ${said}`;
}

export function unclearLog(a: Unclear, who: 'recipient' | 'sender'): string {
  return `Could not complete ${who} verify callout: ${peerName(a.peer)} : ${unclearDetail(a)}`;
}

/** What the client of a refused recipient is told: the server's own words behind a line of ours. */
export function recipientRefusedReply(a: Refused): Reply {
  return { code: 550, lines: ['Callout verification failed:', ...wireLines(a.reply)] };
}

/**
 * Why a sender was refused (Exim manual, "Sender address verification reporting"): the lines between `Verification
 * failed for <...>` and `Sender verify failed`, which the ACL puts around them.
 */
export function senderRefusedReply(a: Refused): Reply {
  const [first = '', ...rest] = wireLines(a.reply);
  const sent = [`Sent:     ${a.after}`, `Response: ${first}`, ...rest] as const;
  return { code: 550, lines: a.peer.kind === 'tcp' ? [`Called:   ${a.peer.host}`, ...sent] : sent };
}

/** What Exim says of a refusal that it remembers. */
export const cachedTexts = {
  address: 'Previous (cached) callout verification failure',
  domain: '(result of an earlier callout reused).',
  postmaster: '(result of earlier verification reused).',
} as const;

export function incompleteReply(who: 'recipient' | 'sender'): Reply {
  return simpleReply(451, undefined, `Could not complete ${who} verify callout`);
}

function wireLines(r: Reply): readonly string[] {
  const last = r.lines.length - 1;
  const status = r.status === undefined ? '' : `${r.status} `;
  return r.lines.map((line, i) => `${r.code}${i === last ? ' ' : '-'}${status}${line}`);
}

function unclearDetail(a: Unclear): string {
  if (a.reply !== undefined)
    return `SMTP error from remote mail server after ${a.after}: ${replySummary(a.reply)}`;
  return a.fault === undefined ? 'no answer' : faultDetail(a.after, a.fault);
}

function faultDetail(after: string, fault: DialogueFault): string {
  switch (fault.kind) {
    case 'closed':
      return `response to "${after}" was: connection dropped`;
    case 'io':
      return after === 'connect' || after === 'callout'
        ? fault.text
        : `response to "${after}" was: connection dropped (${fault.text})`;
    case 'timeout':
      return after === 'connect' ? 'Connection timed out' : `SMTP timeout after ${after}`;
    case 'malformed':
      return `Malformed SMTP reply in response to ${after}: ${fault.text}`;
    case 'unsolicited':
      return `Unexpected SMTP reply before or after ${after}: ${fault.text}`;
    case 'shutdown':
      return `SMTP error from remote mail server after ${after}: ${replySummary(fault.reply)}`;
    case 'source':
    case 'aborted':
      return `callout ended after ${after}`;
    default:
      return assertNever(fault);
  }
}

function peerName(peer: Endpoint): string {
  return peer.kind === 'tcp'
    ? `${peer.host} [${peer.host}]`
    : peer.kind === 'unix'
      ? peer.path
      : endpointKey(peer);
}
