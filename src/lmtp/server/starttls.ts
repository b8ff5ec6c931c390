/** STARTTLS (RFC 3207), answered as Dovecot answers it. */
import type { Next } from '../../protocol/dialogue.ts';
import { secured } from './client.ts';
import { endTransaction, report, say, sayBad, type SessionState } from './state.ts';
import { one } from './wording.ts';

export function starttls(s: SessionState, argument: string): Next | Promise<Next> {
  if (s.client.tls !== undefined) return sayBad(s, 'STARTTLS', one(502, '5.5.1', 'TLS is already active.'));
  if (s.startTls === undefined)
    return sayBad(s, 'STARTTLS', one(502, '5.5.1', 'TLS support is not enabled.'));
  if (argument !== '') return sayBad(s, 'STARTTLS', one(501, '5.5.4', 'Invalid parameters'));
  say(s, one(220, '2.0.0', 'Begin TLS negotiation now.'));
  return begin(s, s.startTls);
}

async function begin(s: SessionState, startTls: NonNullable<SessionState['startTls']>): Promise<Next> {
  // Commands that came behind STARTTLS would be taken for what the client says under its protection (§4.2, §5).
  const result = s.receiver.hasInput ? 'plain text sent before the TLS handshake' : await startTls();
  if (typeof result === 'string') {
    report(s, { kind: 'tls', client: s.client.remoteAddress, reason: result });
    s.endReason = 'TLS handshake failed';
    return 'close';
  }
  endTransaction(s);
  secured(s.client, result);
  return 'command';
}
