// An LMTP client of the tests' own: commands as they stand, replies as text.
import { connect, type NetConnectOpts } from 'node:net';
import type { Endpoint } from '../../src/mail/endpoint.ts';
import { replyReader } from './reply-reader.ts';

export interface LmtpTalk extends AsyncDisposable {
  /** Sends a line and gives so many replies (line ends LF), or what came before the server closed. */
  say(line: string, replies?: number): Promise<string[]>;
  /** MAIL, RCPT for each, DATA and the content: the replies to RCPT, and those after the content. */
  transaction(sender: string, recipients: readonly string[], content: string): Promise<Talked>;
  /** The same with paths as they stand on the wire (`<a@b> ORCPT=...`); gives the replies after the content as `data`, or the one to DATA where nobody was accepted. */
  deliver(
    recipients: readonly string[],
    content: string,
    sender?: string,
  ): Promise<{ readonly rcpt: readonly string[]; readonly data: readonly string[] }>;
  /** Resolves when nothing more comes. */
  close(): Promise<void>;
}

export interface Talked {
  readonly rcpt: readonly string[];
  /** The reply to DATA. */
  readonly data: string;
  readonly ends: readonly string[];
}

const deadlineMs = 30_000;

/** Connects, reads the greeting and says LHLO. @param where an endpoint, or the path of a UNIX socket */
export async function lmtpTalk(where: Endpoint | string, lhlo = 'client.test'): Promise<LmtpTalk> {
  const endpoint: Endpoint = typeof where === 'string' ? { kind: 'unix', path: where } : where;
  if (endpoint.kind === 'pipe') throw new Error('a pipe');
  const to: NetConnectOpts =
    endpoint.kind === 'unix' ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
  const socket = connect({ ...to, noDelay: true });
  const reader = replyReader(socket, deadlineMs);
  async function replies(count: number): Promise<string[]> {
    const got: string[] = [];
    while (got.length < count) {
      const reply = await reader.next();
      if (reply === undefined) break;
      got.push(reply);
    }
    return got;
  }
  const say = (line: string, count = 1): Promise<string[]> => {
    socket.write(`${line}\r\n`, 'latin1');
    return replies(count);
  };
  const close = async (): Promise<void> => {
    socket.destroy();
    await reader.ended();
  };
  await replies(1);
  await say(`LHLO ${lhlo}`);
  async function transaction(
    sender: string,
    recipients: readonly string[],
    content: string,
  ): Promise<Talked> {
    await say(`MAIL FROM:${sender}`);
    const rcpt: string[] = [];
    for (const r of recipients) rcpt.push(...(await say(`RCPT TO:${r}`)));
    const [data = ''] = await say('DATA');
    if (!data.startsWith('354')) return { rcpt, data, ends: [] };
    const accepted = rcpt.filter((r) => r.startsWith('2')).length;
    return { rcpt, data, ends: await say(`${content.replace(/^\./gm, '..')}.`, accepted) };
  }
  return {
    say,
    transaction: (sender, recipients, content) =>
      transaction(
        `<${sender}>`,
        recipients.map((r) => `<${r}>`),
        content,
      ),
    async deliver(recipients, content, sender = '<sender@example.test>') {
      const { rcpt, data, ends } = await transaction(sender, recipients, content);
      if (ends.length === 0) await say('RSET');
      return { rcpt, data: ends.length === 0 ? [data] : ends };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
