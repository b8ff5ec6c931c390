// An SMTP client of the tests' own: one command, one reply, as text.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { replyReader } from './reply-reader.ts';

export interface SmtpTalk {
  /** Sends octets (latin1) as they stand and gives the whole reply, line ends LF, without the last. */
  send(octets: string): Promise<string>;
  /** Sends and waits for nothing. */
  write(octets: string): void;
  close(): void;
}

/** Connects to a port of 127.0.0.1, reads the greeting and says EHLO. Rejects where the peer closes or is silent for 20 s. */
export async function smtpTalk(port: number): Promise<SmtpTalk> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const replies = replyReader(socket);
  const reply = async (): Promise<string> => {
    const said = await replies.next();
    if (said === undefined) throw replies.fault();
    return said;
  };
  await reply();
  const talk: SmtpTalk = {
    send(octets) {
      socket.write(octets, 'latin1');
      return reply();
    },
    write: (octets) => void socket.write(octets, 'latin1'),
    close: () => socket.destroy(),
  };
  await talk.send('EHLO client.test\r\n');
  return talk;
}

export interface Submitted {
  /** The reply that ended it: to the final dot where all went well. */
  readonly reply: string;
  /** The command it was the answer to; `.` for the end of the content. */
  readonly to: string;
  /** The queue's id of the message, empty where it was not accepted. */
  readonly id: string;
}

/** Sends one message, line ends CRLF and no dot at a line start, and stops at the first reply that is no success. */
export async function submit(
  port: number,
  letter: { readonly from: string; readonly to: readonly string[]; readonly content: string },
): Promise<Submitted> {
  const talk = await smtpTalk(port);
  try {
    const commands = [`MAIL FROM:<${letter.from}>`, ...letter.to.map((to) => `RCPT TO:<${to}>`), 'DATA'];
    for (const command of commands) {
      const reply = await talk.send(`${command}\r\n`);
      if (!/^[23]/.test(reply)) return { reply, to: command, id: '' };
    }
    const reply = await talk.send(`${letter.content}.\r\n`);
    return { reply, to: '.', id: /^250 OK id=(\S+)/.exec(reply)?.[1] ?? '' };
  } finally {
    talk.close();
  }
}

export interface Envelope {
  readonly from: string;
  /** Parameters of MAIL, after a space. */
  readonly mail?: string;
  readonly to: readonly string[];
}

/** Opens a message of which each recipient is accepted: the content is to follow. */
export async function openMessage(port: number, { from, mail = '', to }: Envelope): Promise<SmtpTalk> {
  const talk = await smtpTalk(port);
  assert.match(await talk.send(`MAIL FROM:<${from}>${mail}\r\n`), /^250/);
  for (const one of to) assert.match(await talk.send(`RCPT TO:<${one}>\r\n`), /^250/);
  assert.match(await talk.send('DATA\r\n'), /^354/);
  return talk;
}

/**
 * Sends one message, line ends CRLF and no dot at a line start, to those who are accepted. Gives the replies to MAIL, each RCPT
 * and, where any was accepted, to the content: with PRDR one each first (Exim's PRDR, after a 353).
 */
export async function transact(
  port: number,
  { from, mail = '', to, content }: Envelope & { readonly content: string },
): Promise<string[]> {
  const talk = await smtpTalk(port);
  try {
    const replies = [await talk.send(`MAIL FROM:<${from}>${mail}\r\n`)];
    for (const one of to) replies.push(await talk.send(`RCPT TO:<${one}>\r\n`));
    const accepted = replies.slice(1).filter((r) => r.startsWith('2'));
    if (accepted.length === 0) return replies;
    assert.match(await talk.send('DATA\r\n'), /^354/);
    let reply = await talk.send(`${content}.\r\n`);
    if (reply.startsWith('353')) {
      for (const _ of accepted) replies.push(await talk.send(''));
      reply = await talk.send('');
    }
    return [...replies, reply];
  } finally {
    talk.close();
  }
}
