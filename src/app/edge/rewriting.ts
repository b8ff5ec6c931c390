/** Rewriting of a message when its header lines are there: first the sender, then recipients and header lines (Exim manual, "When does rewriting happen?"). */
import type { ExpandScope } from '../../expand/scope.ts';
import {
  type Address,
  isSyntaxError,
  parseAddress,
  formatAddress,
  type ReversePath,
} from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import { rewriteHeader } from '../../rewrite/header.ts';
import { rewriteAddress, type RewriteContext } from '../../rewrite/rewrite.ts';
import type { RewritePlace, RewriteRule } from '../../rewrite/rules.ts';

export interface Rewriting {
  readonly sender: ReversePath;
  readonly recipients: readonly Recipient[];
  readonly fields: readonly HeaderField[];
  /** What makes `fields` of the lines that came. */
  readonly edits: readonly HeaderEdit[];
}

/**
 * @param scopeFor gives the scope of expansions once the sender is known
 * @param told hears of each change
 */
export async function rewriteMessage(
  rules: readonly RewriteRule[],
  message: Pick<Rewriting, 'sender' | 'recipients' | 'fields'>,
  scopeFor: (sender: ReversePath) => ExpandScope,
  problem: (text: string) => void,
  told?: (text: string) => void,
): Promise<Rewriting> {
  const rewrite = async (
    address: Address,
    place: RewritePlace,
    scope: ExpandScope,
  ): Promise<ReversePath | undefined> => {
    const made = await rewriteAddress(formatAddress(address), place, {
      rules,
      scope,
      problem,
      ...telling(told),
    });
    if (!made.changed) return undefined;
    if (made.address === '') return null;
    const parsed = parseAddress(made.address);
    if (!isSyntaxError(parsed)) return parsed;
    problem(`rewriting of ${formatAddress(address)} gave ${made.address}: ${parsed.text}`);
    return undefined;
  };
  let { sender } = message;
  if (sender !== null) {
    const made = await rewrite(sender, 'env-from', scopeFor(sender));
    if (made !== undefined) sender = made;
  }
  const scope = scopeFor(sender);
  const recipients: Recipient[] = [];
  for (const recipient of message.recipients) {
    const made = await rewrite(recipient.address, 'env-to', scope);
    recipients.push(made === undefined || made === null ? recipient : { ...recipient, address: made });
  }
  const fields: HeaderField[] = [];
  const edits: HeaderEdit[] = [];
  for (const [at, field] of message.fields.entries()) {
    const made = await rewriteHeader(field, { rules, scope, problem, ...telling(told) });
    fields.push(made ?? field);
    if (made !== undefined) edits.push({ kind: 'replace', at, text: made.raw });
  }
  return { sender, recipients, fields, edits };
}

export function hasSmtpRules(rules: readonly RewriteRule[]): boolean {
  return rules.some((rule) => rule.places.has('smtp'));
}

/** Keyword, address as the client writes it, parameters. */
const envelopeCommand = /^((?:MAIL FROM|RCPT TO):\s*)(.*?)((?:\s+[A-Za-z0-9-]+(?:=\S*)?)*\s*)$/is;

/** A MAIL or RCPT line with its address rewritten by the rules with the flag S. */
export async function rewriteCommand(
  rules: readonly RewriteRule[],
  line: string,
  scope: ExpandScope,
  problem: (text: string) => void,
  told?: (text: string) => void,
): Promise<string> {
  const [, keyword, address, parameters] = envelopeCommand.exec(line) ?? [];
  if (keyword === undefined || address === undefined) return line;
  const made = await rewriteAddress(address, 'smtp', { rules, scope, problem, ...telling(told) });
  return made.changed ? `${keyword}<${made.address}>${parameters ?? ''}` : line;
}

/** For addresses that others are redirected to; undefined where there are no rules. */
export function childRewriter(
  rules: readonly RewriteRule[],
  problem: (text: string) => void,
  told?: (text: string) => void,
): ((address: Address, scope: ExpandScope) => Promise<Address>) | undefined {
  if (!rules.some((rule) => rule.places.has('env-to'))) return undefined;
  return async (address, scope) => {
    if (address.domain === '') return address;
    const made = await rewriteAddress(formatAddress(address), 'env-to', {
      rules,
      scope,
      problem,
      ...telling(told),
    });
    const parsed = parseAddress(made.address);
    return made.changed && !isSyntaxError(parsed) ? parsed : address;
  };
}

function telling(told: ((text: string) => void) | undefined): Pick<RewriteContext, 'told'> {
  return told === undefined ? {} : { told };
}
