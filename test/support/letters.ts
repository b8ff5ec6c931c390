// Letters that tests send, and how they find and compare them at the other end.
import assert from 'node:assert/strict';
import { readInbox } from './imap.ts';
import { until } from './process.ts';

/** What a link must not change: dots at line starts, octets above 127, a line near SMTP's limit, an empty line. */
export const trickyBody: string = `.\n..\n.leading\n8-bit: \xe4\xf6\xfc \xff\nlong ${'x'.repeat(900)}\n\n.end.`;

/** A mebibyte in lines of 65 octets. */
export function mebibyteBody(): string {
  const line = `${'0123456789abcdef'.repeat(4)}\n`;
  return line.repeat(Math.ceil((1 << 20) / line.length));
}

/** Compares the body of a message (line ends CRLF) with the one that was sent (LF), without printing a mebibyte where they differ. */
export function assertBody(message: string, body: string): void {
  const got = message.slice(message.indexOf('\r\n\r\n') + 4);
  const wanted = `${body.replaceAll('\n', '\r\n')}\r\n`;
  assert.equal(got.length, wanted.length);
  assert.ok(got === wanted, 'the body differs');
}

/** All messages with that subject in a user's INBOX, read through the real Dovecot. */
export async function withSubject(imapPort: number, user: string, subject: string): Promise<string[]> {
  return (await readInbox(imapPort, user)).filter((m) => m.includes(`Subject: ${subject}\r\n`));
}

/** The message with that subject, once it is in the user's INBOX; `context` is asked for more to say where it never comes. */
export function arrived(
  imapPort: number,
  user: string,
  subject: string,
  context: () => string,
): Promise<string> {
  return until(
    async () => (await withSubject(imapPort, user, subject))[0],
    () => `${subject} is in the mailbox of ${user}; ${context()}`,
  );
}

/** The bounce about a failed recipient, once it is in the user's INBOX. */
export function bounceAbout(
  imapPort: number,
  user: string,
  recipient: string,
  context: () => string,
): Promise<string> {
  return until(
    async () =>
      (await readInbox(imapPort, user)).find(
        (m) => m.includes('message/delivery-status') && m.includes(recipient),
      ),
    () => `a bounce about ${recipient} is in the mailbox of ${user}; ${context()}`,
  );
}

/** Recipients of each transaction that our store (or Dovecot) logged as saved, by session id without its recipient part. */
export function savedByTransaction(log: string): Map<string, Set<string>> {
  const saved = [...log.matchAll(/lmtp\(([^)]+)\)<\d+><([^>]*?)(?::R\d+)?>: .*saved mail/g)];
  return new Map(
    Map.groupBy(saved, (m) => m[2] ?? '')
      .entries()
      .map(([session, lines]) => [session, new Set(lines.map((m) => m[1] ?? ''))]),
  );
}
