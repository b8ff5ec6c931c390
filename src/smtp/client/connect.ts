/** Opens an SMTP session: connection, banner, EHLO, and HELO where the server refuses that (RFC 5321 §3.1, §3.2). */
import { hostname } from 'node:os';
import type { Endpoint } from '../../mail/endpoint.ts';
import type { Reply } from '../../mail/reply.ts';
import type { ClientConnection } from '../../net/client-connection.ts';
import { openSession } from '../../net/open-session.ts';
import type { Capabilities } from '../../protocol/capabilities.ts';
import { openingDialogue } from '../../protocol/opening.ts';
import { ReplyParser } from '../../protocol/reply-parser.ts';
import { defaultCommandTimeoutMs } from '../../protocol/send-options.ts';

export interface SmtpConnectOptions {
  /** The EHLO and HELO argument; the machine's host name by default. */
  readonly helo?: string;
  /** HELO is said in place of EHLO, and no extension is used (Exim: `hosts_avoid_esmtp`). */
  readonly avoidEsmtp?: boolean;
  /** Limit of making the connection; 5 minutes by default, as Exim's `connect_timeout`. */
  readonly connectTimeoutMs?: number;
  /** Limit of the wait for banner and EHLO reply, each; 5 minutes by default. */
  readonly commandTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A greeted connection. `await using` says QUIT and closes it. */
export interface SmtpSession extends AsyncDisposable {
  readonly connection: ClientConnection;
  /** What the server offered in its EHLO reply. */
  readonly capabilities: Capabilities;
  /** The 220 banner. */
  readonly greeting: Reply;
}

/**
 * Connects to an SMTP server over TCP, a UNIX socket, or the pipe of a command.
 * Rejects with SessionError, whose `failure` says what the peer did, or with MailError ABORTED.
 */
export async function connectSmtp(
  endpoint: Endpoint,
  options: SmtpConnectOptions = {},
): Promise<SmtpSession> {
  const {
    helo = hostname(),
    connectTimeoutMs = defaultCommandTimeoutMs,
    commandTimeoutMs = defaultCommandTimeoutMs,
    avoidEsmtp = false,
    signal,
  } = options;
  const dialogue = openingDialogue('smtp', helo, commandTimeoutMs, avoidEsmtp);
  const { connection, opened } = await openSession(endpoint, new ReplyParser(), dialogue, {
    connectTimeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  const { capabilities, greeting } = opened;
  return { connection, capabilities, greeting, [Symbol.asyncDispose]: () => connection.close() };
}
