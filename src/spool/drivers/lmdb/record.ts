import type { Claim, OutcomeRecord, RecipientState, SpoolUpdate } from '../../spool.ts';
import type { SpoolContext } from './context.ts';
import { decodeStates, dueOf } from './encoding.ts';
import type { StateHead } from './encoding.ts';
import { checkGenerated, insertGenerated, type PreparedMessage, withGenerated } from './generated.ts';
import { readHead, removeEntry, replaceHead, replaceState } from './rows.ts';

/** Spool.record: checks the token, writes the states, adds generated messages and removes what is done, in one transaction. */
export async function recordOutcomes(
  context: SpoolContext,
  claim: Claim,
  update: SpoolUpdate,
): Promise<'recorded' | 'lost'> {
  const { id, envelope } = claim.entry;
  const recipients = envelope.recipients.length;
  for (const { recipient } of update.outcomes) {
    if (!(recipient >= 0 && recipient < recipients))
      throw new RangeError(`message ${id} has no recipient ${recipient}`);
  }
  const result = await withGenerated(context, update.generated ?? [], async (generated, bytes) => {
    const outcome = await context.group.run('required', bytes, () =>
      apply(context, claim, update, generated),
    );
    return { outcome, stored: outcome !== 'lost' };
  });
  if (result === 'lost') return 'lost';
  // A file that stays behind here (crash, fault) is an orphan for the next opening.
  if (result.removedBodyOwner > 0)
    await context.bodies.remove(id, result.removedBodyOwner).catch(() => undefined);
  return 'recorded';
}

function apply(
  context: SpoolContext,
  claim: Claim,
  update: SpoolUpdate,
  generated: readonly PreparedMessage[],
): 'lost' | { readonly removedBodyOwner: number } {
  const { databases } = context;
  const { id, envelope } = claim.entry;
  const head = readHead(databases, id);
  if (head === undefined || String(head.token) !== claim.token) return 'lost';
  checkGenerated(databases, generated);
  const recipients = envelope.recipients.length;
  // The usual case, all done at once, needs no look at the states there were.
  const states = allDone(update.outcomes, recipients)
    ? undefined
    : merged(decodeStates(head, recipients), update.outcomes);
  insertGenerated(databases, generated);
  if (states?.some((s) => s.kind === 'pending') !== true) {
    removeEntry(databases, id, head);
    return { removedBodyOwner: head.bodyOwner };
  }
  const frozenAtMs = update.frozenAtMs === undefined ? head.frozenAtMs : (update.frozenAtMs ?? undefined);
  replaceState(databases, id, head, {
    owner: update.release ? 0 : head.owner,
    bodyOwner: head.bodyOwner,
    // After a release the claim that gave it is stale like any other.
    token: update.release ? head.token + 1 : head.token,
    leaseUntilMs: update.release ? 0 : head.leaseUntilMs,
    dueMs: dueOf(states),
    frozenAtMs,
    states,
  });
  return { removedBodyOwner: 0 };
}

/** Spool.renew. A lease that ran out is taken up again as long as nobody claimed the message since. */
export function renewLease(
  context: SpoolContext,
  claim: Claim,
  leaseMs: number,
  nowMs: number,
): Promise<'renewed' | 'lost'> {
  const { id } = claim.entry;
  return context.group.run('required', 0, () => {
    const head = readHead(context.databases, id);
    if (head === undefined || String(head.token) !== claim.token) return 'lost';
    const renewed: StateHead = { ...head, owner: context.owners.self, leaseUntilMs: nowMs + leaseMs };
    replaceHead(context.databases, id, head, renewed);
    return 'renewed';
  });
}

function allDone(outcomes: readonly OutcomeRecord[], recipients: number): boolean {
  if (outcomes.length !== recipients) return false;
  return outcomes.every((o, i) => o.recipient === i && o.state.kind === 'done');
}

function merged(states: RecipientState[], outcomes: readonly OutcomeRecord[]): readonly RecipientState[] {
  for (const o of outcomes) states[o.recipient] = o.state;
  return states;
}
