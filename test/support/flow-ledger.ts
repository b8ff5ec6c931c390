// What lies in the Maildirs of those to whom a flow of letters went, against what its sender was told.
import assert from 'node:assert/strict';
import path from 'node:path';
import type { Told } from './flow.ts';
import { maildirMessages } from './maildir.ts';

/** Subjects; each copy that is there is whole. */
export interface FlowLedger {
  /** Accepted, and not in the mailbox of each. */
  readonly missing: readonly string[];
  /** More than once in a mailbox: user and subject. */
  readonly doubled: readonly string[];
  /** Refused, and there. */
  readonly refused: readonly string[];
}

/** @param mail the folder of the users' Maildirs */
export function flowLedger(mail: string, users: readonly string[], told: Told): FlowLedger {
  const copies = new Map<string, number>();
  for (const user of users)
    for (const text of maildirMessages(path.join(mail, user))) {
      const subject = /^Subject: (.*)$/m.exec(text)?.[1] ?? '';
      assert.match(text, /one of many\n$/, `${subject} is whole`);
      const key = `${user} ${subject}`;
      copies.set(key, (copies.get(key) ?? 0) + 1);
    }
  return {
    missing: told.accepted.filter((subject) => users.some((user) => !copies.has(`${user} ${subject}`))),
    doubled: [...copies].flatMap(([key, count]) => (count > 1 ? [key] : [])),
    refused: told.refused.filter((subject) => users.some((user) => copies.has(`${user} ${subject}`))),
  };
}

/** What of it is counted, as one line. */
export function ledgerFigures(told: Told, ledger: FlowLedger): string {
  return JSON.stringify({
    accepted: told.accepted.length,
    unanswered: told.unanswered.length,
    refused: told.refused.length,
    doubled: ledger.doubled.length,
    refusedButThere: ledger.refused.length,
  });
}
