/** What a backend is told, and what tells backends apart. */
import { endpointKey } from '../../mail/endpoint.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { ProxyTarget } from '../../mail/mail-user.ts';
import type { ForwardedClient } from '../../lmtp/client/held.ts';
import type { LmtpClientFacts } from '../../lmtp/server/handler.ts';
import { mailboxText } from '../trace.ts';

/** Hand-ons that may follow the first, as in Dovecot. */
const firstTtl = 5;

/** Recipients with one key share one transaction. */
export function targetKey(t: ProxyTarget): string {
  return `${endpointKey({ kind: 'tcp', host: t.host, port: t.port })} ${t.tls ?? ''} ${t.timeoutMs ?? ''}`;
}

/** For XCLIENT. @param number of the backend within the transaction, from 1: part of the session's name, as in Dovecot */
export function toldClient(client: LmtpClientFacts, number: number, timeoutMs: number): ForwardedClient {
  const { remoteAddress, remotePort = 0, lhlo, sessionId, forwarded } = client;
  return {
    ...(remoteAddress === undefined ? {} : { address: remoteAddress }),
    ...(remoteAddress === undefined || remotePort === 0 ? {} : { port: remotePort }),
    helo: lhlo,
    protocol: forwarded?.proto ?? 'LMTP',
    ...(forwarded?.login === undefined ? {} : { login: forwarded.login }),
    session: `${sessionId}:P${number}`,
    ttl: forwarded?.ttl === undefined ? firstTtl : forwarded.ttl - 1,
    // A second less than we wait, so that its answer comes before we give up.
    timeoutSeconds: Math.max(1, Math.ceil(timeoutMs / 1000) - 1),
  };
}

/** ORCPT: the one that came, or the address that did. */
export function originalRecipient({ address, orcpt }: Recipient): Pick<Recipient, 'orcpt'> {
  if (orcpt !== undefined) return { orcpt };
  const text = mailboxText(address);
  // RFC 6533 has another form for those; without ORCPT nothing is wrong.
  if (/[^\x20-\x7e]/.test(text)) return {};
  const xtext = text.replace(
    /[^!-*,-<>-~]/g,
    (c) => `+${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return { orcpt: `rfc822;${xtext}` };
}
