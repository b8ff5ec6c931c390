/** Options of a transport, expanded for one delivery. */
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import type { EnhancedStatus } from '../../mail/reply.ts';
import type { RecipientOutcome } from '../../mail/outcome.ts';

/** Ends a delivery with one outcome for all of its recipients; thrown and caught in this folder only. */
export class DeliveryStop extends Error {
  readonly outcome: RecipientOutcome;
  constructor(outcome: RecipientOutcome) {
    super('the delivery ends');
    this.outcome = outcome;
  }
}

export function putOff(text: string, freeze = false): DeliveryStop {
  return new DeliveryStop({
    kind: 'deferred',
    status: { text },
    scope: 'address',
    ...(freeze ? { freeze } : {}),
  });
}

export function refuse(text: string, code?: EnhancedStatus): DeliveryStop {
  return new DeliveryStop({ kind: 'failed', status: { text, ...(code === undefined ? {} : { code }) } });
}

export interface OptionText {
  readonly text: string;
  readonly tainted: boolean;
}

/**
 * Undefined where the option is unset or forced to fail.
 *
 * @param what for the message, as Exim words it: `file or directory name for x transport`
 */
export async function expandOption(
  text: string | undefined,
  what: string,
  scope: ExpandScope,
): Promise<OptionText | undefined> {
  if (text === undefined) return undefined;
  const expanded = await expandText(text, scope);
  switch (expanded.kind) {
    case 'ok':
      return expanded;
    case 'forced-fail':
      return undefined;
    case 'error':
    case 'defer':
      throw putOff(`Expansion of "${text}" (${what}) failed: ${expanded.reason}`);
  }
}

/** The same where a forced failure is a failure too. */
export async function expandRequired(text: string, what: string, scope: ExpandScope): Promise<OptionText> {
  const expanded = await expandOption(text, what, scope);
  if (expanded === undefined) throw putOff(`Expansion of "${text}" (${what}) failed: forced failure`);
  return expanded;
}

export async function expandUntainted(text: string, what: string, scope: ExpandScope): Promise<string> {
  const expanded = await expandRequired(text, what, scope);
  if (expanded.tainted) throw putOff(`Tainted '${expanded.text}' (${what}) not permitted`);
  return expanded.text;
}
