/**
 * Results of a transaction in the words of Exim's main log (taken from Exim 4.96 delivering to servers that fail in
 * every way), and what they mean for retrying (Exim manual, "Errors in outgoing SMTP").
 */
import { formatAddress, formatPath, type ReversePath } from '../../mail/address.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { DialogueFault } from '../../mail/dialogue-fault.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { PeerLink, RecipientOutcome, Status } from '../../mail/outcome.ts';
import { isPermanent, type Reply, replySummary } from '../../mail/reply.ts';

/** Where in the dialogue; `content` is after the end of the data. */
export type Stage = 'mail' | 'rcpt' | 'data' | 'content';

/** One recipient's result, as the SMTP and LMTP clients give it. */
export type PeerResult =
  | { readonly kind: 'accepted'; readonly reply: Reply }
  | { readonly kind: 'refused'; readonly stage: Stage; readonly reply: Reply }
  | {
      readonly kind: 'unanswered';
      readonly stage: Stage;
      readonly recipient: number;
      readonly fault: DialogueFault;
    }
  | { readonly kind: 'unsupported'; readonly extension: string };

/** Why there was nobody to talk to. */
export interface PeerFailure {
  readonly after?: string;
  readonly reply?: Reply;
  readonly fault: DialogueFault;
}

/** Which transport speaks: their log lines differ. */
export interface Voice {
  readonly driver: 'smtp' | 'lmtp';
  readonly protocol: 'smtp' | 'lmtp';
  /** `name [address]` for a host, a path for a socket. */
  readonly peer: string;
  /** What stands in front of the system's error where no connection could be made. */
  readonly connectPrefix: string;
  readonly host?: { readonly name: string; readonly address: string; readonly port: number };
  /** Set once there is a connection. */
  readonly link?: PeerLink;
}

/** What was sent, for messages that name a command. */
export interface Sent {
  readonly sender: ReversePath;
  readonly recipients: readonly Recipient[];
  readonly pipelined: boolean;
  readonly contentOctets: number;
}

export function outcomeOf(result: PeerResult, position: number, sent: Sent, voice: Voice): RecipientOutcome {
  switch (result.kind) {
    case 'accepted':
      return voice.host === undefined
        ? { kind: 'delivered', reply: result.reply }
        : { kind: 'delivered', reply: result.reply, host: voice.host, ...linkOf(voice) };
    case 'refused': {
      const text = refusalText(result.stage, position, result.reply, sent, voice);
      return refused(text, result.reply, voice, result.stage === 'rcpt' ? 'address' : 'message');
    }
    case 'unanswered': {
      const status = { text: faultText(result, sent, voice), peer: voice.peer, ...linkOf(voice) };
      return { kind: 'deferred', status, scope: faultScope(result.stage, result.fault) };
    }
    case 'unsupported': {
      const code = result.extension === 'SMTPUTF8' ? '5.6.7' : '5.6.3';
      const text = `message needs ${result.extension}, which the remote server does not offer`;
      return { kind: 'failed', status: { text, code, peer: voice.peer, ...linkOf(voice) } };
    }
    default:
      return assertNever(result);
  }
}

function linkOf(voice: Voice): Pick<Status, 'link'> {
  return voice.link === undefined ? {} : { link: voice.link };
}

/** The outcome of every recipient where there was no session: permanent only if the server said so itself. */
export function failureOutcome(failure: PeerFailure, voice: Voice): RecipientOutcome {
  const { after, reply, fault } = failure;
  if (after === undefined) {
    const text =
      fault.kind === 'timeout'
        ? 'Connection timed out'
        : fault.kind === 'io'
          ? fault.text
          : 'Connection closed';
    return {
      kind: 'deferred',
      status: { text: voice.connectPrefix + text, peer: voice.peer, ...linkOf(voice) },
      scope: 'host',
    };
  }
  if (reply !== undefined)
    return refused(`${errorAfter(voice)} ${after}: ${replySummary(reply)}`, reply, voice, 'host');
  return {
    kind: 'deferred',
    status: { text: faultAfter(after, fault, voice), peer: voice.peer, ...linkOf(voice) },
    scope: 'host',
  };
}

function refused(
  text: string,
  reply: Reply,
  voice: Voice,
  scope: 'host' | 'address' | 'message',
): RecipientOutcome {
  const status: Status = {
    text,
    ...(reply.status === undefined ? {} : { code: reply.status }),
    reply,
    peer: voice.peer,
    ...linkOf(voice),
  };
  if (isPermanent(reply)) return { kind: 'failed', status };
  return { kind: 'deferred', status, scope: reply.code === 421 ? 'host' : scope };
}

/** A fault of the host, but for those that the message or the recipient may have caused. */
function faultScope(stage: Stage, fault: DialogueFault): 'host' | 'address' | 'message' {
  if (stage === 'content' || fault.kind === 'source') return 'message';
  if (fault.kind !== 'timeout') return 'host';
  return stage === 'mail' ? 'message' : stage === 'rcpt' ? 'address' : 'host';
}

function errorAfter(voice: Voice): string {
  return voice.driver === 'lmtp' ? 'LMTP error after' : 'SMTP error from remote mail server after';
}

function refusalText(stage: Stage, position: number, reply: Reply, sent: Sent, voice: Voice): string {
  const said = replySummary(reply);
  if (stage === 'content' && voice.driver === 'smtp' && voice.protocol === 'lmtp')
    return `LMTP error after DATA: ${said}`;
  const pipelined = voice.driver === 'smtp' && sent.pipelined && (stage === 'mail' || stage === 'data');
  return `${errorAfter(voice)} ${pipelined ? 'pipelined ' : ''}${commandName(stage, position, sent)}: ${said}`;
}

function faultText(result: Extract<PeerResult, { kind: 'unanswered' }>, sent: Sent, voice: Voice): string {
  const { stage, recipient, fault } = result;
  if (fault.kind === 'source') return `cannot read the message: ${fault.text}`;
  const command = commandName(stage, recipient, sent);
  if (stage === 'content' && fault.kind === 'timeout') {
    return faultAfter(`${command} (${sent.contentOctets} bytes written)`, fault, voice);
  }
  const pipelined = voice.driver === 'smtp' && sent.pipelined && stage !== 'content';
  return faultAfter(pipelined ? `pipelined ${command}` : command, fault, voice);
}

function commandName(stage: Stage, position: number, sent: Sent): string {
  switch (stage) {
    case 'mail':
      return `MAIL FROM:${formatPath(sent.sender)}`;
    case 'rcpt':
      return `RCPT TO:<${formatAddress(sent.recipients[position]?.address ?? null)}>`;
    case 'data':
      return 'DATA';
    case 'content':
      return 'end of data';
    default:
      return assertNever(stage);
  }
}

function faultAfter(after: string, fault: DialogueFault, voice: Voice): string {
  const smtp = voice.driver === 'smtp';
  switch (fault.kind) {
    case 'closed':
      return smtp
        ? `Remote host closed connection in response to ${after}`
        : `LMTP connection closed after ${after}`;
    case 'io':
      return smtp
        ? `Remote host closed connection in response to ${after}: ${fault.text}`
        : `LMTP connection closed after ${after}: ${fault.text}`;
    case 'timeout':
      return `${smtp ? 'SMTP' : 'LMTP'} timeout after ${after}`;
    case 'malformed':
      return smtp
        ? `Malformed SMTP reply in response to ${after}: ${fault.text}`
        : `Malformed LMTP response after ${after}: ${fault.text}`;
    case 'unsolicited':
      return smtp
        ? `Unexpected SMTP reply before or after ${after}: ${fault.text}`
        : `Unexpected LMTP response before or after ${after}: ${fault.text}`;
    case 'shutdown':
      return `${errorAfter(voice)} ${after}: ${replySummary(fault.reply)}`;
    case 'source':
      return `cannot read the message: ${fault.text}`;
    case 'aborted':
      return 'delivery was aborted';
    default:
      return assertNever(fault);
  }
}
