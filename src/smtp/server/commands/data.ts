import type { Reply } from '../../../mail/reply.ts';
import type { ContentFault } from '../../../protocol/content-scanner.ts';
import type { Next } from '../../../protocol/dialogue.ts';
import type { MessageSink, Verdict } from '../handler.ts';
import {
  deliverVerdict,
  endTransaction,
  localProblem,
  protocolError,
  say,
  sayText,
  type SessionState,
} from '../state.ts';

/** DATA (RFC 5321 §4.1.1.4). */
export async function data(s: SessionState): Promise<Next> {
  if (!s.inTransaction || s.accepted === 0) return noRecipients(s);
  const max = s.options.limits.maxRecipients;
  if (s.options.rejectTooMany === true && max > 0 && s.recipients > max)
    return sayText(s, 554, '5.5.3', 'Too many recipients');
  const answer = await s.handler.data();
  if (!isSink(answer)) return deliverVerdict(s, answer);
  s.sink = answer;
  sayText(s, 354, undefined, 'Enter message, ending with "." on a line by itself');
  return 'data';
}

function isSink(answer: MessageSink | Verdict): answer is MessageSink {
  return 'write' in answer;
}

/** Exim repeats what the recipients were told when it was the same for all. */
function noRecipients(s: SessionState): Next {
  if (typeof s.refusal === 'string') {
    for (const line of ['All RCPT commands were rejected with this error:', ...s.refusal.split('\n')]) {
      s.link.write(`503-5.5.1 ${line}\r\n`);
    }
  }
  // RCPTs and DATA sent as one batch are no error of the client's (Exim manual, pipelining_advertise_hosts).
  if (s.helo === 'EHLO' && s.lastWasRcpt)
    return sayText(s, 503, '5.5.1', 'Valid RCPT command must precede DATA');
  return protocolError(s, 'DATA', 503, '5.5.1', 'valid RCPT command must precede DATA');
}

/** A part of the content. Where it throws, {@link breakSink} follows. */
export function content(s: SessionState, chunk: Buffer): void | Promise<void> {
  return s.sink?.write(chunk);
}

/** The sink failed: the message is read to its end, dropped, and put off there. */
export function breakSink(s: SessionState): Promise<void> {
  return dropSink(s, 'the message could not be written');
}

/** Nothing of the message may be kept. */
export async function dropSink(s: SessionState, reason: string, tooBig?: boolean): Promise<void> {
  const sink = s.sink;
  s.sink = undefined;
  try {
    await sink?.abort(reason, tooBig);
  } catch (error) {
    s.options.onError?.(error);
  }
}

/** The message is spoilt: it is dropped now, and answered at its end. */
export async function contentFault(s: SessionState, fault: ContentFault): Promise<void> {
  const { text, incident } = wordFault(s, fault);
  if (fault !== 'too-big')
    s.handler.protocolError(
      incident === 'limit'
        ? { kind: 'limit', reason: text, closing: false }
        : { kind: 'syntax', command: 'DATA', reason: text },
    );
  await dropSink(s, text, fault === 'too-big');
}

/** The final dot. The transaction is over whatever the answer. */
export async function contentEnd(s: SessionState, fault: ContentFault | undefined): Promise<Next> {
  endTransaction(s);
  s.freeRset = s.freeHelo = true;
  if (fault !== undefined) return say(s, wordFault(s, fault).reply);
  if (s.sink === undefined) return say(s, localProblem);
  // Where this throws, breakSink follows and aborts it.
  const verdict = await s.sink.end();
  s.sink = undefined;
  sayForEach(s, verdict.recipients ?? []);
  return deliverVerdict(s, verdict);
}

/** PRDR: where there is more than one recipient, each has its own reply before the one for the message. */
function sayForEach(s: SessionState, replies: readonly Reply[]): void {
  if (replies.length < 2) return;
  sayText(s, 353, undefined, 'PRDR content analysis beginning');
  for (const one of replies) say(s, one);
}

function wordFault(
  s: SessionState,
  fault: ContentFault,
): { reply: Reply; text: string; incident: 'limit' | 'syntax' } {
  switch (fault) {
    case 'bare-lf':
    case 'bare-cr': {
      const text = `bare ${fault === 'bare-lf' ? 'LF' : 'CR'} in message data: lines must end in CRLF (RFC 5321 section 2.3.8)`;
      return { reply: { code: 550, status: '5.6.11', lines: [text] }, text, incident: 'syntax' };
    }
    case 'line-too-long': {
      const text = `maximum allowed line length is ${s.options.limits.maxDataLineOctets} octets`;
      return { reply: { code: 550, status: '5.6.0', lines: [text] }, text, incident: 'limit' };
    }
    case 'too-big': {
      const text = 'Message size exceeds maximum permitted';
      return { reply: { code: 552, status: '5.3.4', lines: [text] }, text, incident: 'limit' };
    }
  }
}
