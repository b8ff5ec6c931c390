/** Who is told that a message was frozen (Exim manual, "freeze_tell"). */
import { composeFreezeNotice } from '../dsn/freeze-notice.ts';
import type { Address } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { GeneratedMessage, SpoolEntry } from '../spool/spool.ts';
import { madeHere } from './generated.ts';

export interface FreezeTell {
  readonly to: readonly Address[];
  readonly primaryHostname: string;
  /** What stands in `From:`. */
  readonly from: string;
  readonly newId: () => QueueId;
}

/**
 * One notice for all of them, or none: nobody is told of a bounce that was made here, since its notice could be frozen next.
 *
 * @param entry without states where all recipients wait
 * @param reason undefined where an ACL asked for it when the message came
 * @param errors the last error of a recipient, by its position
 */
export function freezeNotices(
  tell: FreezeTell | undefined,
  entry: Pick<SpoolEntry, 'id' | 'envelope' | 'reception'> & Partial<Pick<SpoolEntry, 'states'>>,
  reason: string | undefined,
  errors: (position: number) => string | undefined,
  nowMs: number,
): GeneratedMessage[] {
  const [first, ...others] = tell?.to ?? [];
  const { envelope, reception } = entry;
  if (tell === undefined || first === undefined) return [];
  if (envelope.sender === null && reception.protocol === 'local') return [];
  const id = tell.newId();
  const waiting = envelope.recipients.flatMap(({ address }, position) => {
    if (entry.states?.[position]?.kind === 'done') return [];
    const error = errors(position);
    return [error === undefined ? { address } : { address, error }];
  });
  const { primaryHostname, from } = tell;
  const content = composeFreezeNotice({
    id,
    to: tell.to,
    frozen: entry.id,
    sender: envelope.sender,
    reason,
    waiting,
    primaryHostname,
    from,
    nowMs,
  });
  return [
    {
      id,
      content,
      envelope: { sender: null, recipients: [{ address: first }, ...others.map((address) => ({ address }))] },
      reception: madeHere(content, nowMs),
      headerEdits: [],
      variables: {},
    },
  ];
}
