/** What `control = submission` does to a header (Exim manual, "Submissions by programs and users"). */
import { formatAddress, type ReversePath } from '../../mail/address.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import { formatDate } from '../../mail/received.ts';

export interface SubmissionFacts {
  /** `sender_retain`: a Sender field is left as it is. */
  readonly senderRetain: boolean;
  readonly id: string;
  /** The right side of a Message-ID that has to be made. */
  readonly domain: string;
  readonly sender: ReversePath;
  readonly atMs: number;
}

/** Adds Message-Id, Date and From where they are missing, as `Resent-` fields where others of these are there; takes Sender away. */
export function submissionEdits(fields: readonly HeaderField[], facts: SubmissionFacts): HeaderEdit[] {
  const names = new Set(fields.map((f) => f.name.toLowerCase()));
  const resent = [...names].some((name) => name.startsWith('resent-')) ? 'Resent-' : '';
  const missing = (name: string): boolean => !names.has(`${resent}${name}`.toLowerCase());
  const edits: HeaderEdit[] = [];
  const add = (name: string, body: string, where: 'top' | 'bottom'): void => {
    edits.push({ kind: 'add', where, text: `${resent}${name}: ${body}\r\n` });
  };
  // Fields of a resending stand at the top (RFC 5322 §3.6.6); Exim makes an exception of From.
  const where = resent === '' ? 'bottom' : 'top';
  if (!facts.senderRetain && names.has(`${resent}sender`.toLowerCase()))
    edits.push({ kind: 'remove', name: `${resent}sender`.toLowerCase() });
  if (missing('message-id')) add('Message-Id', `<E${facts.id}@${facts.domain}>`, where);
  // A bounce has no sender to put there, and an authenticated one does not exist.
  if (missing('from') && facts.sender !== null) add('From', formatAddress(facts.sender), 'bottom');
  if (missing('date')) add('Date', formatDate(facts.atMs), where);
  return edits;
}
