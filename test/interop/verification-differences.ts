// Where verification is meant to differ from Exim's, line by line: a difference explains a pair of lines, or one line alone.
import { cachedTexts } from '../../src/verify/callout-wording.ts';

export interface VerificationDifference {
  readonly name: string;
  readonly reason: string;
  /** Replies and log lines that stand at one place. */
  explains?(exim: string, ours: string): boolean;
  /** A log line of ours for which Exim has none. */
  readonly extra?: RegExp;
}

const reused = new RegExp(
  `(?:${Object.values(cachedTexts)
    .map((w) => w.replace(/[.()]/g, '\\$&'))
    .join('|')})`,
);

export const differences: readonly VerificationDifference[] = [
  {
    name: 'the words of a cached refusal in the reply to a recipient',
    reason: "a cached answer keeps the server's words",
    explains: (exim, ours) => {
      const m = / => 550 (.*)$/.exec(exim);
      return (
        m !== null &&
        reused.test(m[1] ?? '') &&
        ours.startsWith(`${exim.slice(0, m.index)} => 550-Callout verification failed: | 550`)
      );
    },
  },
  {
    name: 'the words of a cached refusal in the reply to a sender',
    reason: 'as above',
    explains: (exim, ours) =>
      reused.test(exim) &&
      exim.replace(/550-\([^|]*reused\)\.|550-Previous \(cached\)[^|]*(?= \|)/, 'REASON') ===
        ours.replace(
          /550-Called: .*Response: .*?(?= \| 550[- ](?:The initial|Several RFCs|Sender verify))/,
          'REASON',
        ),
  },
  {
    name: 'the words of a cached refusal in the log',
    reason: 'as above',
    explains: (exim, ours) =>
      reused.test(exim) && exim.startsWith('H=') && ours.startsWith(`${exim} 127.0.0.1 [127.0.0.1] : `),
  },
  {
    name: 'why a sender was refused, from the cache, in the log',
    reason: 'as above; Exim says nothing',
    explains: (exim, ours) =>
      / sender verify fail for <\S+>$/.test(exim) &&
      ours.startsWith(`${exim}: `) &&
      / after | response to "MAIL/.test(ours),
  },
  {
    name: 'what was sent before a refused greeting',
    reason: 'Exim names the QUIT that it sends afterwards',
    explains: (exim, ours) =>
      exim.includes('Sent:     QUIT') &&
      exim.replace('Sent:     QUIT', 'Sent:') ===
        ours.replace(/Sent: {5}(?:initial connection|HELO mx\.example\.test)/, 'Sent:'),
  },
  {
    name: 'EHLO and HELO',
    reason: 'a server that answers EHLO with 4xx is not asked by HELO in the same session',
    explains: (exim, ours) =>
      exim.endsWith(' 451 not you now') && exim.replace('after HELO', 'after EHLO') === ours,
  },
  {
    name: 'why MAIL was put off',
    reason: 'Exim logs NULL',
    explains: (exim, ours) =>
      exim.endsWith(' : NULL') &&
      ours.startsWith(exim.slice(0, -'NULL'.length)) &&
      /SMTP error from remote mail server after MAIL FROM:<[^>]*>: 451 no mail now$/.test(ours),
  },
  {
    name: 'what the second host said',
    reason: 'Exim forgets it',
    explains: (exim, ours) =>
      /@d\d+\.two\.test>: Could not complete recipient verify callout$/.test(exim) &&
      ours ===
        `${exim}: 127.0.0.1 [127.0.0.1] : SMTP error from remote mail server after RCPT TO:<${/RCPT <([^>]*)>/.exec(exim)?.[1] ?? ''}>: 451 4.2.0 busy`,
  },
  {
    name: 'which postmaster was refused',
    reason: 'Exim names the first of the two, though it is the answer for the second',
    explains: (exim, ours) =>
      exim.replace(/(?<=RCPT TO:<postmaster)@[^>]*(?=>: (?:550-no|451))/, '') === ours &&
      /RCPT TO:<postmaster>/.test(ours),
  },
  {
    name: 'octets in a header name',
    reason: 'they are escaped in the log',
    explains: (exim, ours) => exim.replace('\xf6', '\\366') === ours && exim !== ours,
  },
  {
    name: 'a mistake in quota',
    reason: 'what is wrong is said',
    explains: (exim, ours) =>
      exim.endsWith('Could not complete recipient verify callout') &&
      /after "quota" in ACL condition/.test(ours),
  },
  {
    name: 'a server that gives no session',
    reason: 'it is left alone for a moment, which is logged once',
    extra: /^callout: \S+ (?:gives no session; it is asked again in \d+ ms|answers again)$/,
  },
];
