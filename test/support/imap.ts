// As much IMAP as it takes to read a mailbox through the real Dovecot.
import net from 'node:net';

/** Logs in, opens INBOX and gives every message, octets as latin1, line ends CRLF. */
export async function readInbox(port: number, user: string, password = 'secret'): Promise<string[]> {
  const socket = net.connect({ host: '127.0.0.1', port });
  let text = '';
  let wake: () => void = () => undefined;
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
  /** Sends a command and gives all that came up to its tagged answer. */
  async function command(tag: string, line: string): Promise<string> {
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
    await command('a1', `LOGIN ${user} ${password}`);
    const selected = await command('a2', 'SELECT INBOX');
    const count = Number(/\* (\d+) EXISTS/.exec(selected)?.[1] ?? 0);
    const messages: string[] = [];
    for (let i = 1; i <= count; i++) {
      const answer = await command(`f${i}`, `FETCH ${i} BODY.PEEK[]`);
      const literal = /BODY\[\] \{(\d+)\}\r\n/.exec(answer);
      if (literal === null) throw new Error(`IMAP: unexpected answer ${answer.slice(0, 200)}`);
      const begin = literal.index + literal[0].length;
      messages.push(answer.slice(begin, begin + Number(literal[1])));
    }
    return messages;
  } finally {
    socket.destroy();
  }
}
