/** What the spool keeps of a message besides its content, fixed when it is accepted. */
import { type AclResult, mergeHeaderEdits } from '../../acl/result.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import type { QueueId } from '../../mail/message-id.ts';
import type { Submission } from '../../spool/spool.ts';
import type { Incoming } from './incoming.ts';
import type { EdgeParts } from './parts.ts';
import type { Rewriting } from './rewriting.ts';
import { submissionEdits } from './submission.ts';

/**
 * @param trace the Received field; empty for none
 * @param late what was found out at the end of the content
 */
export function submissionOf(
  parts: Pick<EdgeParts, 'main' | 'options'>,
  incoming: Pick<Incoming, 'envelope' | 'recipients' | 'reception' | 'submission' | 'headerEdits' | 'facts'>,
  id: QueueId,
  headers: readonly HeaderField[],
  trace: string,
  late: { readonly rewriting: Rewriting | undefined; readonly result: AclResult | undefined } | undefined,
): Submission {
  const { envelope, recipients, reception, submission } = incoming;
  const edits =
    late?.result === undefined
      ? incoming.headerEdits
      : mergeHeaderEdits(incoming.headerEdits, late.result.headerEdits);
  return {
    envelope: { ...envelope, recipients },
    reception,
    headerEdits: [
      ...(late?.rewriting?.edits ?? []),
      ...(submission === undefined
        ? []
        : submissionEdits(headers, {
            ...submission,
            id,
            domain: parts.main.primaryHostname,
            sender: envelope.sender,
            atMs: reception.receivedAtMs,
          })),
      ...(trace === '' ? [] : [{ kind: 'add', where: 'top', text: trace } as const]),
      ...removals(parts, headers),
      ...edits,
    ],
    variables: Object.fromEntries(incoming.facts.variables),
  };
}

/** Fields that belong to a final delivery (Exim manual, "return_path_remove" and its relatives). */
function removals({ options }: Pick<EdgeParts, 'options'>, fields: readonly HeaderField[]): HeaderEdit[] {
  const unwanted = [
    options.return_path_remove ? 'return-path' : '',
    options.delivery_date_remove ? 'delivery-date' : '',
    options.envelope_to_remove ? 'envelope-to' : '',
  ];
  const present = new Set(fields.map((f) => f.name.toLowerCase()));
  return unwanted.filter((name) => present.has(name)).map((name) => ({ kind: 'remove', name }));
}
