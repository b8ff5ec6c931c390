// Mail sent by the real swaks.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { runToEnd } from './process.ts';

export interface Sent {
  /** 0 where every recipient and the content were accepted. */
  readonly code: number | string;
  /** The whole dialogue. */
  readonly output: string;
}

export interface Letter {
  readonly from?: string;
  readonly to: readonly string[];
  /** Octets as latin1, line ends LF or CRLF; swaks sends CRLF and stuffs dots. */
  readonly content?: string;
}

/** Sends one message over SMTP; `folder` is for its file. */
export async function swaks(folder: string, port: number, letter: Letter): Promise<Sent> {
  const words = [
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '--ehlo',
    'client.test',
    '-f',
    letter.from ?? 'sender@example.test',
    '-t',
    letter.to.join(','),
  ];
  if (letter.content !== undefined) {
    const file = path.join(folder, `letter-${Math.random().toString(36).slice(2)}`);
    writeFileSync(file, letter.content, 'latin1');
    words.push('--data', `@${file}`);
  }
  return runToEnd('/usr/bin/swaks', words, { timeoutMs: 60_000 });
}

/** A letter's text with a subject to find it by; swaks ends the last line. */
export function letterText(subject: string, body: string): string {
  return `From: Sender <sender@example.test>\nTo: someone@example.test\nSubject: ${subject}\nDate: Tue, 24 Nov 2026 08:00:00 +0000\n\n${body}`;
}
