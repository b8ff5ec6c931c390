/** What an ACL run gives, and how a refusal reads on the wire and in the log. */
import type { HeaderEdit } from '../mail/headers.ts';
import { replyFromText, type EnhancedStatus, type Reply } from '../mail/reply.ts';
import type { AclControls } from './control.ts';
import { phases, type AclPhase } from './tables.ts';

export type AclVerdict = 'accept' | 'defer' | 'deny' | 'discard' | 'drop';

export type LogName = 'main' | 'panic' | 'reject';

export interface AclResult {
  readonly verdict: AclVerdict;
  /** For the client, lines parted by LF, code taken off. Absent: the default text. */
  readonly userMessage?: string;
  /** The code and status that `message` asked for; the code's first digit agrees with the verdict. */
  readonly code?: number;
  readonly status?: EnhancedStatus;
  /** Lines to send before the reply proper: why the sender did not verify, told once a message. */
  readonly details?: string;
  /** For the log: one line, why a command was refused or a recipient discarded. */
  readonly logMessage?: string;
  /** Where a refusal is logged: `log_reject_target`. */
  readonly logTargets: readonly LogName[];
  /** Header lines to add and remove, in order. They count only if the message is accepted in the end. */
  readonly headerEdits: readonly HeaderEdit[];
  readonly controls: AclControls;
}

/** The reply to a command that was refused (`deny`, `drop`, `defer`), in Exim's wording. */
export function refusal(result: AclResult, phase: AclPhase, noMultilineResponses = false): Reply {
  const deferred = result.verdict === 'defer';
  const code = result.code ?? (deferred ? 451 : phases[phase].denyCode);
  const text =
    result.userMessage ??
    (deferred ? 'Temporary local problem - please try later' : 'Administrative prohibition');
  const single = result.controls.noMultilineResponses ?? noMultilineResponses;
  const details = single || result.details === undefined ? '' : `${result.details}\n`;
  return replyFromText(code, result.status, respondLines(`${details}${text}`, single));
}

/** The reply to a command that an `accept` or `discard` with a `message` let pass; undefined for the usual reply. */
export function acceptance(result: AclResult, defaultCode: number): Reply | undefined {
  if (result.userMessage === undefined) return undefined;
  const single = result.controls.noMultilineResponses === true;
  return replyFromText(result.code ?? defaultCode, result.status, respondLines(result.userMessage, single));
}

/** A newline at the very end makes no line, and white space after a newline is dropped, further newlines too. */
function respondLines(text: string, single: boolean): string {
  const lines: string[] = [];
  for (let from = 0; ; ) {
    const end = text.indexOf('\n', from);
    lines.push(end < 0 ? text.slice(from) : text.slice(from, end));
    if (end < 0 || end === text.length - 1 || single) return lines.join('\n');
    from = end + 1;
    while (isSpace(text.charCodeAt(from))) from++;
  }
}

function isSpace(c: number): boolean {
  return c === 0x20 || (c >= 0x09 && c <= 0x0d);
}

/** Exim's `: reason` after `rejected RCPT <...>`, or nothing. */
export function rejectionReason(result: AclResult): string {
  return result.logMessage === undefined ? '' : `: ${result.logMessage}`;
}

/** Adds edits to those of earlier ACLs of the message: a header line asked for twice is added once (Exim manual, "Adding header lines in ACLs"). */
export function mergeHeaderEdits(
  earlier: readonly HeaderEdit[],
  more: readonly HeaderEdit[],
): readonly HeaderEdit[] {
  const merged = [...earlier];
  for (const edit of more)
    if (edit.kind !== 'add' || !merged.some((m) => m.kind === 'add' && m.text === edit.text))
      merged.push(edit);
  return merged;
}
