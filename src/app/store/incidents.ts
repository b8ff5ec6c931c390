/** Log texts of what goes wrong in a store's dialogues. */
import type { LmtpIncident } from '../../lmtp/server/index.ts';
import { assertNever } from '../../mail/assert-never.ts';
import { logText } from '../../observe/log-text.ts';

export function incidentText(i: LmtpIncident): string {
  const from = i.client === '' ? 'local client' : `[${i.client}]`;
  switch (i.kind) {
    case 'bad-command':
      return `${from}: ${logText(i.command)}: ${logText(i.reply)}`;
    case 'refused-message':
      return `${from}: message refused: ${logText(i.reason)}`;
    case 'timeout':
      return `${from}: timed out waiting for ${i.during}`;
    case 'lost':
      return `${from}: disconnected during ${i.during}`;
    case 'tls':
      return `${from}: TLS: ${logText(i.reason)}`;
    case 'fault':
      return `${from}: ${logText(i.error instanceof Error ? i.error.message : String(i.error))}`;
    default:
      return assertNever(i);
  }
}
