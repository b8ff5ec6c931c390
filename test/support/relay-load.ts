// Mail for a store that comes by several relays at once, with the ledger of what they accepted.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { createSmtpPool } from '../../src/smtp/client/pool.ts';
import { type Address, isSyntaxError, parseAddress } from '../../src/mail/address.ts';
import { until } from './process.ts';

/** Counts lines of a growing file that match, reading each octet once. The file may not exist yet. */
export function lineCounter(file: string, pattern: RegExp): () => number {
  let count = 0;
  let offset = 0;
  let tail = '';
  return () => {
    let fd: number;
    try {
      fd = openSync(file, 'r');
    } catch {
      return count;
    }
    const bytes = Buffer.alloc(fstatSync(fd).size - offset);
    offset += readSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
    const lines = (tail + bytes.toString('latin1')).split('\n');
    tail = lines.pop() ?? '';
    count += lines.filter((line) => pattern.test(line)).length;
    return count;
  };
}

export interface RelayLoad {
  /** In Message-IDs: `<name>.<number>@load.test`. */
  readonly name: string;
  readonly port: number;
  readonly messages: number;
  readonly users: readonly string[];
  /** Waited for before each message: keeps the relay's queue short. */
  readonly room: () => Promise<void>;
  /** Takes `<message-id> user` of each accepted recipient. */
  readonly accepted: (entry: string) => void;
}

/** Connections to one relay. */
const lanes = 4;
/** One message in so many goes to three users at once. */
const someToMany = 10;

/** Sends all messages by SMTP, 1 to 16 KiB, each of which must be accepted; rejects where one is not. */
export async function loadRelay(load: RelayLoad): Promise<void> {
  const pool = createSmtpPool();
  const relay = { kind: 'tcp', host: '127.0.0.1', port: load.port } as const;
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < load.messages) {
      const n = next++;
      await load.room();
      const id = `<${load.name}.${n}@load.test>`;
      const first = (n * 7) % load.users.length;
      const to = [0, 1, 2]
        .slice(0, n % someToMany === 0 ? 3 : 1)
        .map((i) => load.users[(first + i) % load.users.length] ?? '');
      const content = messageOf(id, n);
      const sent = await pool.send(
        relay,
        {
          envelope: {
            sender: addressOf('sender@b.example'),
            recipients: to.map((user) => ({ address: addressOf(`${user}@example.test`) })),
          },
          content,
        },
        { connectTimeoutMs: 30_000, commandTimeoutMs: 60_000, finalTimeoutMs: 60_000 },
      );
      if (sent.kind === 'no-session' || sent.result.recipients.some((r) => r.kind !== 'accepted'))
        throw new Error(`${load.name} did not accept ${id}: ${JSON.stringify(sent)}`);
      for (const user of to) load.accepted(`${id} ${user}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: lanes }, lane));
  } finally {
    await pool.close();
  }
}

const line = 'The quick brown fox jumps over the lazy dog; pack my box with five dozen jugs\r\n';

function messageOf(
  id: string,
  n: number,
): { size: number; bytes: Uint8Array; open(): AsyncGenerator<Uint8Array> } {
  const bytes = Buffer.from(
    `Message-ID: ${id}\r\nDate: ${new Date().toUTCString()}\r\nFrom: <sender@b.example>\r\nTo: <list@example.test>\r\nSubject: ${n}\r\n\r\n` +
      `${line.repeat(1 + ((n * 37) % 200))}.a line that begins with a dot\r\n`,
    'latin1',
  );
  return {
    size: bytes.length,
    bytes,
    async *open() {
      yield bytes;
    },
  };
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (isSyntaxError(address)) throw new Error(text);
  return address;
}

/** For `room`: waits while more than `most` of what `accepted` counts have not come to `stored`. */
export function backlogOf(most: number, accepted: () => number, stored: () => number): () => Promise<void> {
  return async () => {
    if (accepted() - stored() > most)
      await until(
        () => accepted() - stored() <= most,
        () => `the relays deliver: ${stored()} of ${accepted()}`,
        120_000,
      );
  };
}
