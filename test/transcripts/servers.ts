// Small servers for the transcripts: our sessions with handlers that answer as the Exim and Dovecot configurations do.
import { setImmediate as turn } from 'node:timers/promises';
import {
  createLmtpServer,
  type LmtpHandler,
  type LmtpListenOptions,
  type LmtpServerOptions,
} from '../../src/lmtp/server/index.ts';
import { formatAddress, formatPath, type LocalPart } from '../../src/mail/address.ts';
import type { Envelope, Recipient } from '../../src/mail/envelope.ts';
import { unquoteLocalPart } from '../../src/mail/local-part.ts';
import { reply, type Reply } from '../../src/mail/reply.ts';
import type { ListenAddress, Listener, ListenOptions } from '../../src/net/listen.ts';
import type {
  ClientFacts,
  ProtocolIncident,
  SessionHandler,
  SessionLimits,
  SessionOptions,
} from '../../src/smtp/server/handler.ts';
import { listenSmtp } from '../../src/smtp/server/server.ts';

/** A message a test server took. */
export interface Taken {
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly content: string;
  readonly envelope: Omit<Envelope, 'sender' | 'recipients'>;
}

export interface Seen {
  readonly messages: Taken[];
  readonly incidents: ProtocolIncident[];
  /** Sinks aborted and transactions reset, in order. */
  readonly events: string[];
  readonly errors: unknown[];
}

export function newSeen(): Seen {
  return { messages: [], incidents: [], events: [], errors: [] };
}

export const eximLimits: SessionLimits = {
  maxCommandOctets: 16_384,
  maxDataLineOctets: 0,
  maxMessageOctets: 20_480,
  maxRecipients: 30,
  maxSyntaxErrors: 3,
  maxUnknownCommands: 3,
  idleTimeoutMs: 60_000,
};

export const smtpHost = 'edge.example.test';

/** Accepts recipients at example.test but `unknown`, as the Exim configuration of the transcripts does. */
export function smtpHandler(client: ClientFacts, seen: Seen): SessionHandler {
  let sender = '';
  let envelope: Taken['envelope'] = {};
  let recipients: string[] = [];
  return {
    connect: async () => ({ reply: reply(220, undefined, `${smtpHost} ESMTP`) }),
    helo: async (c) => ({
      reply: reply(250, undefined, `${smtpHost} Hello ${c.argument} [${client.remoteAddress}]`),
    }),
    mail: async (c) => {
      sender = formatAddress(c.sender);
      envelope = c.params;
      recipients = [];
      return { reply: reply(250, '2.1.0', 'OK') };
    },
    rcpt: async ({ address }: Recipient) => {
      await turn();
      if (address.local === 'unknown') return { reply: reply(550, '5.1.1', 'invalid recipient') };
      if (address.local === 'drop') return { reply: reply(550, '5.7.1', 'go away'), close: true };
      if (address.local === 'broken') throw new Error('broken handler');
      if (address.domain.toLowerCase() !== 'example.test' && address.domain !== '') {
        return { reply: reply(550, '5.7.1', 'relay not permitted') };
      }
      recipients.push(formatAddress(address));
      return { reply: reply(250, '2.1.5', 'Accepted') };
    },
    data: async () => {
      if (sender === 'nodata@example.test') return { reply: reply(550, '5.7.1', 'no data from you') };
      const chunks: Buffer[] = [];
      return {
        write: (chunk) => {
          if (sender === 'broken@example.test') throw new Error('broken sink');
          chunks.push(Buffer.from(chunk));
        },
        end: async () => {
          seen.messages.push({
            sender,
            recipients,
            content: Buffer.concat(chunks).toString('latin1'),
            envelope,
          });
          return { reply: reply(250, '2.0.0', 'OK id=1u2WxY-000aBc-1f') };
        },
        abort: async (reason) => void seen.events.push(`abort: ${reason}`),
      };
    },
    reset: () => void seen.events.push('reset'),
    vrfy: async (argument) => ({ reply: reply(252, '2.1.5', `cannot verify ${argument}`) }),
    protocolError: (what) => void seen.incidents.push(what),
    closed: () => void seen.events.push('closed'),
  };
}

export function startSmtp(
  seen: Seen,
  options: Partial<SessionOptions> = {},
  listenOptions: ListenOptions = {},
  at: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 },
): Promise<Listener> {
  const session: SessionOptions = {
    hostname: smtpHost,
    limits: eximLimits,
    onError: (e) => void seen.errors.push(e),
    ...options,
  };
  return listenSmtp(at, session, { onError: (e) => void seen.errors.push(e), ...listenOptions }, (client) =>
    smtpHandler(client, seen),
  );
}

/** Knows user1 to user20, with `+detail`, at any domain, as the Dovecot of the transcripts does. */
export function lmtpHandler(seen: Seen): LmtpHandler {
  return {
    begin: async (client, sender, params) => {
      const recipients: Recipient[] = [];
      return {
        rcpt: async (recipient): Promise<Reply> => {
          recipients.push(recipient);
          const user = recipient.address.local.replace(/\+.*/, '').replaceAll('"', '');
          if (user === 'broken') throw new Error('broken handler');
          if (/^(user([1-9]|1\d|20)|full)$/.test(user)) return reply(250, '2.1.5', 'OK');
          return reply(
            550,
            '5.1.1',
            `${formatPath(recipient.address)} User doesn't exist: ${formatAddress({ ...recipient.address, local: unquoteLocalPart(recipient.address.local) as LocalPart })}`,
          );
        },
        deliver: async (content, accepted, signal) => {
          const chunks: Uint8Array[] = [];
          for await (const chunk of content.open(signal)) chunks.push(chunk);
          const to = accepted.map((p) => recipients[p]).filter((r) => r !== undefined);
          seen.messages.push({
            sender: formatAddress(sender),
            recipients: to.map((r) => formatAddress(r.address)),
            content: Buffer.concat(chunks).toString('latin1'),
            envelope: params,
          });
          if (formatAddress(sender) === 'broken@example.test') throw new Error('broken delivery');
          return to.map((r) =>
            r.address.local === 'full'
              ? reply(552, '5.2.2', `${formatPath(r.address)} Quota exceeded (mailbox for user is full)`)
              : reply(250, '2.0.0', `${formatPath(r.address)} ${client.sessionId} Saved`),
          );
        },
        end: () => void seen.events.push('end'),
      };
    },
  };
}

export async function startLmtp(
  seen: Seen,
  options: Partial<LmtpServerOptions> = {},
  listenOptions: LmtpListenOptions = {},
  at: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 },
): Promise<Listener> {
  const server = createLmtpServer(
    {
      hostname: 'store.example.test',
      onIncident: (i) => void (i.kind === 'fault' ? seen.errors.push(i.error) : seen.events.push(i.kind)),
      ...options,
    },
    lmtpHandler(seen),
  );
  return server.listen(at, listenOptions);
}
