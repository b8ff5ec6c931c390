/** What the client is told of a backend's answers, in the words of Dovecot's lmtp proxy. Backends' texts are untrusted: one line, cut. */
import { assertNever } from '../../mail/assert-never.ts';
import { faultSummary } from '../../mail/dialogue-fault.ts';
import { isPositive, replySummary, type EnhancedStatus, type Reply } from '../../mail/reply.ts';
import type { HeldAnswer } from '../../lmtp/client/held.ts';
import { passedOn, saved } from '../replies.ts';

export function loops(shown: string): Reply {
  return passedOn(554, '5.4.6', shown, 'Proxying loops to itself');
}

export function ttlSpent(shown: string): Reply {
  return passedOn(554, '5.4.6', shown, 'Proxying appears to be looping (TTL=0)');
}

export function tooManyHops(shown: string): Reply {
  return passedOn(554, '5.4.6', shown, 'Too many hops');
}

/** At RCPT. A refused MAIL is every recipient's answer. */
export function rcptReply(answer: HeldAnswer, shown: string, session: string): Reply {
  switch (answer.kind) {
    case 'reply': {
      const { reply } = answer;
      if (isPositive(reply)) return passedOn(reply.code, reply.status ?? '2.1.5', undefined, oneText(reply));
      return passedOn(reply.code, statusOf(reply), shown, bareText(reply));
    }
    case 'unanswered':
      return proxyFailed(answer, session);
    case 'unsupported':
      return passedOn(550, '5.6.7', shown, `The mailbox's server does not offer ${answer.extension}`);
    default:
      return assertNever(answer);
  }
}

/** After the content: 250 only where the backend said 2xx to it. */
export function finalReply(answer: HeldAnswer, shown: string, session: string): Reply {
  if (answer.kind === 'unsupported') return rcptReply(answer, shown, session);
  if (answer.kind === 'reply') {
    const { reply } = answer;
    if (answer.stage === 'content' && isPositive(reply)) return saved(shown, session);
    if (reply.code >= 400) return passedOn(reply.code, statusOf(reply), shown, bareText(reply));
    return proxyFailed({ fault: { kind: 'malformed', text: '' }, stage: answer.stage }, session);
  }
  if (answer.fault.kind === 'timeout')
    return passedOn(
      451,
      '4.4.0',
      shown,
      'Remote server not answering (transaction timed out while waiting for reply to DATA)',
    );
  return proxyFailed(answer, session);
}

/** For the log. */
export function faultText(answer: HeldAnswer): string {
  switch (answer.kind) {
    case 'reply':
      return replySummary(answer.reply);
    case 'unanswered':
      return `${whatFailed(answer)}: ${faultSummary(answer.fault)}`;
    case 'unsupported':
      return `${answer.extension} is not offered`;
    default:
      return assertNever(answer);
  }
}

function whatFailed({ stage, fault }: Extract<HeldAnswer, { kind: 'unanswered' }>): string {
  if (stage === 'pool') return 'no connection is free';
  if (stage === 'connect') return 'connect failed';
  return fault.kind === 'timeout' ? 'Remote server not answering' : 'Lost connection to remote server';
}

function proxyFailed(
  { stage, fault }: Pick<Extract<HeldAnswer, { kind: 'unanswered' }>, 'stage' | 'fault'>,
  session: string,
): Reply {
  let how = 'connection lost';
  if (fault.kind === 'timeout') how = 'timed out';
  else if (stage === 'connect' || stage === 'pool') how = 'connect';
  else if (fault.kind === 'malformed' || fault.kind === 'unsolicited') how = 'bad reply';
  return passedOn(451, '4.4.0', undefined, `Proxy failed (${how}, session=${session})`);
}

function statusOf(reply: Reply): EnhancedStatus {
  return reply.status ?? (reply.code < 500 ? '4.0.0' : '5.0.0');
}

function oneText(reply: Reply): string {
  return reply.lines.join(' ').trim();
}

/** The text without the address in front, for which ours is put. */
function bareText(reply: Reply): string {
  return oneText(reply).replace(/^<[^>]*>\s*/, '');
}
