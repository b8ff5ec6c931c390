/** What a temporary failure is called in retry rules and in the log's `defer (N)`. */
import type { RecipientOutcome, Status } from '../mail/outcome.ts';
import type { RetryError } from '../retry/error.ts';

export interface Classified {
  readonly error: RetryError;
  /** A system error number, or Exim's own below zero. */
  readonly errno: number;
}

/** Exim's numbers for what has no system error. */
export const noErrno: number = -1;
export const hostRetryErrno: number = -54;

const systemErrors: readonly (readonly [text: string, error: RetryError, errno: number])[] = [
  ['Connection refused', { kind: 'host', name: 'refused', from: 'A' }, 111],
  ['Connection timed out', { kind: 'host', name: 'timeout_connect', from: 'A' }, 110],
  ['Connection reset by peer', { kind: 'plain', name: 'lost_connection' }, 104],
  ['Broken pipe', { kind: 'plain', name: 'lost_connection' }, 32],
  ['No route to host', { kind: 'other' }, 113],
  ['Network is unreachable', { kind: 'other' }, 101],
  ['No such file or directory', { kind: 'other' }, 2],
  ['Permission denied', { kind: 'other' }, 13],
  ['Resource temporarily unavailable', { kind: 'other' }, 11],
];

const stages = [
  [/ after (?:pipelined )?RCPT TO/, 'rcpt', -44],
  [/ after (?:pipelined )?MAIL FROM/, 'mail', -45],
  [/ after (?:pipelined )?(?:DATA|end of data|BDAT)/, 'data', -46],
] as const;

/**
 * Classifies by the reply where there is one, else by the words of the status, which are Exim's own and fixed.
 */
export function classify(outcome: Extract<RecipientOutcome, { kind: 'deferred' }>): Classified {
  const { status } = outcome;
  const code = status.reply?.code ?? 0;
  if (code >= 400 && code < 500) {
    for (const [words, to, errno] of stages)
      if (words.test(status.text))
        return { error: { kind: 'reply', to, tens: Math.floor(code / 10) % 10, units: code % 10 }, errno };
    return { error: { kind: 'other' }, errno: noErrno };
  }
  return byText(status);
}

function byText({ text }: Status): Classified {
  if (/ timeout after /.test(text))
    return { error: { kind: 'host', name: 'timeout', from: 'A' }, errno: 110 };
  for (const [words, error, errno] of systemErrors) if (text.endsWith(words)) return { error, errno };
  if (/closed/.test(text) && /connection/i.test(text))
    return { error: { kind: 'plain', name: 'lost_connection' }, errno: -18 };
  if (text.startsWith('transport filter process failed')) return { error: { kind: 'other' }, errno: -24 };
  if (/^(?:Malformed|Unexpected) /.test(text)) return { error: { kind: 'other' }, errno: -19 };
  return { error: { kind: 'other' }, errno: noErrno };
}
