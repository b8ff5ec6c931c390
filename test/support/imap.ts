// As much IMAP as it takes to read a mailbox through the real Dovecot.
import net from 'node:net';

export interface ImapSession {
  /** Sends a command and gives all that came up to its tagged answer, octets as latin1. Rejects where that is not OK. */
  command(line: string): Promise<string>;
  close(): void;
}

/** Connects and logs in. */
export async function openImap(port: number, user: string, password = 'secret'): Promise<ImapSession> {
  const socket = net.connect({ host: '127.0.0.1', port });
  let text = '';
  let wake: () => void = () => undefined;
  let commands = 0;
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    wake();
  });
  socket.on('close', () => wake());
  socket.on('error', () => wake());
  const deadline = AbortSignal.timeout(20_000);
  deadline.addEventListener('abort', () => {
    socket.destroy();
    wake();
  });
  async function command(line: string): Promise<string> {
    const tag = `a${++commands}`;
    text = '';
    socket.write(`${tag} ${line}\r\n`);
    for (;;) {
      const m = new RegExp(`^${tag} (OK|NO|BAD)[^\\r]*\\r\\n`, 'm').exec(text);
      if (m !== null) {
        if (m[1] !== 'OK') throw new Error(`IMAP: ${line}: ${m[0]}`);
        return text;
      }
      if (socket.destroyed || deadline.aborted)
        throw new Error(`IMAP connection lost during ${line}: ${text}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  try {
    await command(`LOGIN ${user} ${password}`);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return { command, close: () => socket.destroy() };
}

/** Logs in, opens a mailbox and gives every message, octets as latin1, line ends CRLF. */
export async function readMailbox(port: number, user: string, mailbox: string): Promise<string[]> {
  const imap = await openImap(port, user);
  try {
    const selected = await imap.command(`SELECT "${mailbox}"`);
    const count = Number(/\* (\d+) EXISTS/.exec(selected)?.[1] ?? 0);
    const messages: string[] = [];
    for (let i = 1; i <= count; i++) {
      const answer = await imap.command(`FETCH ${i} BODY.PEEK[]`);
      const literal = /BODY\[\] \{(\d+)\}\r\n/.exec(answer);
      if (literal === null) throw new Error(`IMAP: unexpected answer ${answer.slice(0, 200)}`);
      const begin = literal.index + literal[0].length;
      messages.push(answer.slice(begin, begin + Number(literal[1])));
    }
    return messages;
  } finally {
    imap.close();
  }
}

export function readInbox(port: number, user: string): Promise<string[]> {
  return readMailbox(port, user, 'INBOX');
}
