/** `mailchute send`: one message over SMTP, so that a first try needs no other program. */
import { hostname } from 'node:os';
import { type Address, formatPath, isSyntaxError, parseAddress, type ReversePath } from '../mail/address.ts';
import { assertNever } from '../mail/assert-never.ts';
import { faultSummary } from '../mail/dialogue-fault.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import { formatDate } from '../mail/received.ts';
import { replySummary } from '../mail/reply.ts';
import type { RecipientResult } from '../protocol/transaction.ts';
import { createSmtpPool } from '../smtp/client/pool.ts';

export interface SendWords {
  readonly server: Endpoint;
  readonly from: ReversePath;
  readonly to: readonly Address[];
  readonly subject: string;
  /** The body, or, with `whole`, header and body; octets. */
  readonly content: Buffer;
  readonly whole: boolean;
}

export const sendUsage: string = `usage: mailchute send --to ADDRESS [--to ADDRESS ...] [options]
  --server HOST:PORT   where to (127.0.0.1:2525)
  --from ADDRESS       the sender; empty for <> (alice@example.test)
  --subject TEXT       (a message from mailchute send)
  --text TEXT          the body; without --text or --file it is read from standard input
  --file FILE          the whole message, header and body; - for standard input`;

/**
 * Reads the words after `send`; a text says what is wrong with them.
 *
 * @param read gives a file's octets, `-` is standard input
 */
export function parseSendWords(words: readonly string[], read: (file: string) => Buffer): SendWords | string {
  let server = '127.0.0.1:2525';
  let from = 'alice@example.test';
  let subject = 'a message from mailchute send';
  let text: string | undefined;
  let file: string | undefined;
  const to: Address[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const value = words[i + 1];
    if (value === undefined) return `${words[i]} needs a value\n${sendUsage}`;
    switch (words[i] ?? '') {
      case '--server':
        server = value;
        break;
      case '--from':
        from = value;
        break;
      case '--subject':
        subject = value;
        break;
      case '--text':
        text = value;
        break;
      case '--file':
        file = value;
        break;
      case '--to': {
        const address = parseAddress(value);
        if (isSyntaxError(address)) return `--to ${value}: ${address.text}`;
        to.push(address);
        break;
      }
      default:
        return `unknown option ${words[i]}\n${sendUsage}`;
    }
  }
  if (to.length === 0) return `no recipient\n${sendUsage}`;
  if (/[\r\n]/.test(subject)) return 'the subject must be one line';
  const endpoint = parseServer(server);
  if (endpoint === undefined) return `--server ${server}: expected HOST:PORT, [IPV6]:PORT or unix:/path`;
  const sender = from === '' || from === '<>' ? null : parseAddress(from);
  if (sender !== null && isSyntaxError(sender)) return `--from ${from}: ${sender.text}`;
  const content = text === undefined ? read(file ?? '-') : Buffer.from(`${text}\n`);
  return { server: endpoint, from: sender, to, subject, content, whole: file !== undefined };
}

function parseServer(text: string): Endpoint | undefined {
  if (text.startsWith('unix:/')) return { kind: 'unix', path: text.slice('unix:'.length) };
  const m = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (m === null) return undefined;
  const port = Number(m[3]);
  return port > 0 && port < 65_536 ? { kind: 'tcp', host: m[1] ?? m[2] ?? '', port } : undefined;
}

/** Every line end becomes CRLF, and the last line gets one. */
function withCrlf(text: string): string {
  const lines = text.replace(/\r\n|\r|\n/g, '\r\n');
  return lines.endsWith('\r\n') ? lines : `${lines}\r\n`;
}

function messageOf(words: SendWords, nowMs: number): Buffer {
  const text = withCrlf(words.content.toString('latin1'));
  if (words.whole) return Buffer.from(text, 'latin1');
  const eightBit = /[^\x00-\x7f]/.test(text);
  const header = [
    `Date: ${formatDate(nowMs)}`,
    `From: ${formatPath(words.from)}`,
    `To: ${words.to.map(formatPath).join(', ')}`,
    `Subject: ${Buffer.from(words.subject).toString('latin1')}`,
    `Message-ID: <${nowMs.toString(36)}.${process.pid}@${hostname()}>`,
    ...(eightBit
      ? ['MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 8bit']
      : []),
  ];
  return Buffer.from(`${header.join('\r\n')}\r\n\r\n${text}`, 'latin1');
}

/** Sends, prints one line a recipient, and gives the exit code: 0 where every recipient was accepted. */
export async function send(words: SendWords, print: (line: string) => void): Promise<number> {
  const bytes = messageOf(words, Date.now());
  const pool = createSmtpPool();
  try {
    const sent = await pool.send(
      words.server,
      {
        envelope: {
          sender: words.from,
          recipients: words.to.map((address) => ({ address })),
          ...(bytes.some((octet) => octet > 127) ? { body: '8BITMIME' as const } : {}),
        },
        content: {
          size: bytes.length,
          bytes,
          async *open() {
            yield bytes;
          },
        },
      },
      { connectTimeoutMs: 30_000, commandTimeoutMs: 60_000, finalTimeoutMs: 600_000 },
    );
    if (sent.kind === 'no-session') {
      print(
        `not sent: ${sent.failure.reply === undefined ? faultSummary(sent.failure.fault) : replySummary(sent.failure.reply)}`,
      );
      return 1;
    }
    sent.result.recipients.forEach((r, i) => print(`${formatPath(words.to[i] ?? null)}: ${outcomeText(r)}`));
    return sent.result.recipients.every((r) => r.kind === 'accepted') ? 0 : 1;
  } finally {
    await pool.close();
  }
}

function outcomeText(r: RecipientResult): string {
  switch (r.kind) {
    case 'accepted':
      return `accepted: ${replySummary(r.reply)}`;
    case 'refused':
      return `refused: ${replySummary(r.reply)}`;
    case 'unanswered':
      return `no answer: ${faultSummary(r.fault)}`;
    case 'unsupported':
      return `not sent: the server does not offer ${r.extension}`;
    default:
      return assertNever(r);
  }
}
