/** Opens an LMTP session: connection, banner, LHLO (RFC 2033). */
import { hostname } from 'node:os';
import type { Endpoint } from '../../mail/endpoint.ts';
import { MailError } from '../../mail/mail-error.ts';
import { isPositive, type Reply } from '../../mail/reply.ts';
import type { ClientConnection } from '../../net/client-connection.ts';
import type { ClientTls } from '../../net/client-tls.ts';
import { flyOn } from '../../net/fly.ts';
import { openSession, SessionError } from '../../net/open-session.ts';
import type { Capabilities } from '../../protocol/capabilities.ts';
import { helloDialogue, openingDialogue } from '../../protocol/opening.ts';
import { ReplyParser } from '../../protocol/reply-parser.ts';
import { defaultCommandTimeoutMs } from '../../protocol/send-options.ts';

/** How a connection is opened; see each for its default. */
export interface LmtpConnectOptions {
  /** The LHLO argument; the machine's host name by default. */
  readonly helo?: string;
  /** Limit of making the connection; 5 minutes by default, as Exim's `connect_timeout`. */
  readonly connectTimeoutMs?: number;
  /** Limit of the wait for banner and LHLO reply, each; 5 minutes by default. */
  readonly commandTimeoutMs?: number;
  /** `starttls`: TLS before anything but LHLO is said, or no session; `implicit`: TLS from the first octet. Default none. */
  readonly tls?: ClientTls & { readonly mode: 'starttls' | 'implicit' };
  readonly signal?: AbortSignal;
}

/** A greeted connection. `await using` says QUIT and closes it. */
export interface LmtpSession extends AsyncDisposable {
  readonly connection: ClientConnection;
  /** What the server offered in its LHLO reply. */
  readonly capabilities: Capabilities;
  /** The 220 banner. */
  readonly greeting: Reply;
}

/**
 * Connects to an LMTP server over TCP, a UNIX socket, or the pipe of a command.
 * Rejects with SessionError, whose `failure` says what the peer did, or with MailError ABORTED.
 */
export async function connectLmtp(
  endpoint: Endpoint,
  options: LmtpConnectOptions = {},
): Promise<LmtpSession> {
  const {
    helo = hostname(),
    connectTimeoutMs = defaultCommandTimeoutMs,
    commandTimeoutMs = defaultCommandTimeoutMs,
    tls,
    signal,
  } = options;
  const dialogue = openingDialogue('lmtp', helo, commandTimeoutMs);
  const { connection, opened } = await openSession(endpoint, new ReplyParser(), dialogue, {
    connectTimeoutMs,
    ...(tls?.mode === 'implicit' ? { tls } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
  const { greeting } = opened;
  let { capabilities } = opened;
  if (tls?.mode === 'starttls') {
    try {
      capabilities = await startTls(connection, capabilities, helo, tls, commandTimeoutMs, signal);
    } catch (error) {
      void connection.close();
      throw error;
    }
  }
  return { connection, capabilities, greeting, [Symbol.asyncDispose]: () => connection.close() };
}

/** RFC 3207: what the server said before is forgotten. Gives what it offers inside TLS. */
async function startTls(
  connection: ClientConnection,
  offered: Capabilities,
  helo: string,
  tls: ClientTls,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Capabilities> {
  const after = 'STARTTLS';
  if (!offered.keywords.has('STARTTLS'))
    throw new SessionError({ after, fault: { kind: 'io', text: 'the server does not offer STARTTLS' } });
  const release = signal === undefined ? undefined : connection.abortWith(signal);
  try {
    const { replies, fault } = await connection.exchange({ commands: 'STARTTLS\r\n', expect: 1, timeoutMs });
    const reply = replies[0];
    if (reply === undefined || !isPositive(reply))
      throw new SessionError({
        after,
        ...(reply === undefined ? {} : { reply }),
        fault: fault ?? { kind: 'closed' },
      });
    await connection.secure(tls, timeoutMs, signal);
  } finally {
    release?.();
  }
  if (connection.fault !== undefined)
    throw aborted(signal) ?? new SessionError({ after, fault: connection.fault });
  const hello = await flyOn(connection, helloDialogue('lmtp', helo, timeoutMs), signal);
  if (hello.kind === 'open') return hello.capabilities;
  throw (
    aborted(signal) ??
    new SessionError({
      after: hello.after,
      ...(hello.reply === undefined ? {} : { reply: hello.reply }),
      fault: hello.fault ?? { kind: 'closed' },
    })
  );
}

function aborted(signal: AbortSignal | undefined): MailError | undefined {
  return signal?.aborted === true ? new MailError('ABORTED', 'aborted') : undefined;
}
