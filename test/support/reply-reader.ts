// The replies of an SMTP or LMTP server, as text, by a client of the tests' own.
import type { Socket } from 'node:net';

export interface ReplyReader {
  /** The next whole reply, line ends LF, without the last; undefined where the connection ends before. */
  next(): Promise<string | undefined>;
  /** What is to be said of a connection that has ended. */
  fault(): Error;
  /** Resolves when it has ended; it is given up after the same time. */
  ended(): Promise<void>;
}

/** @param deadlineMs for each reply; the connection is given up then */
export function replyReader(socket: Socket, deadlineMs = 20_000): ReplyReader {
  let text = '';
  let error: Error | undefined;
  let over = false;
  let wake = (): void => undefined;
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  socket.on('error', (e) => {
    error = e;
  });
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      over = true;
      wake();
      resolve();
    });
  });
  const inTime = async <T>(work: () => Promise<T>): Promise<T> => {
    const late = (): void => void socket.destroy(new Error(`no reply in ${deadlineMs} ms`));
    const timer = setTimeout(late, deadlineMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
    }
  };
  const next = async (): Promise<string | undefined> => {
    for (;;) {
      const m = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/.exec(text);
      if (m !== null) {
        text = text.slice(m[0].length);
        return m[0].replaceAll('\r\n', '\n').trimEnd();
      }
      if (over) return undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    next: () => inTime(next),
    fault: () => error ?? new Error(`closed after: ${text}`),
    ended: () => inTime(() => closed),
  };
}
