/** Log texts of a store's dialogues: their beginnings and ends as Dovecot's lmtp has them, and what goes wrong in them. */
import type { LmtpIncident, LmtpSessionEnd } from '../../lmtp/server/index.ts';
import { assertNever } from '../../mail/assert-never.ts';
import { logText } from '../../observe/log-text.ts';

export function connectText(client: string, pid: number): string {
  return `lmtp(${pid}): Info: Connect from ${nameOf(client)}`;
}

export function disconnectText({ client, reason, state }: LmtpSessionEnd, pid: number): string {
  return `lmtp(${pid}): Info: Disconnect from ${nameOf(client)}: ${reason} (state=${state})`;
}

function nameOf(client: string): string {
  return client === '' ? 'local' : client;
}

/** Undefined for the end of a session, which has its own line. */
export function incidentText(i: LmtpIncident): string | undefined {
  const from = i.client === '' ? 'local client' : `[${i.client}]`;
  switch (i.kind) {
    case 'bad-command':
      return `${from}: ${logText(i.command)}: ${logText(i.reply)}`;
    case 'refused-message':
      return `${from}: message refused: ${logText(i.reason)}`;
    case 'timeout':
    case 'lost':
      return undefined;
    case 'tls':
      return `${from}: TLS: ${logText(i.reason)}`;
    case 'fault':
      return `${from}: ${logText(i.error instanceof Error ? i.error.message : String(i.error))}`;
    default:
      return assertNever(i);
  }
}
