/** What failures lead to: bounces, silence, or a frozen message (Exim manual, "Permanent delivery failure", "Failures to deliver bounce messages"). */
import { composeBounce } from '../dsn/bounce.ts';
import type { FailedRecipient } from '../dsn/failure.ts';
import { systemSender } from '../dsn/from.ts';
import { composeListErrors } from '../dsn/list-errors.ts';
import { type Address, formatAddress } from '../mail/address.ts';
import type { Recipient } from '../mail/envelope.ts';
import { parseHeaderFields } from '../mail/headers.ts';
import { recipientKey } from '../router/route.ts';
import type { SyntaxReport } from '../router/router.ts';
import type { Claim, GeneratedMessage } from '../spool/spool.ts';
import type { DeliveryContext } from './context.ts';
import { madeHere } from './generated.ts';
import { editContent, readStart } from './edited-content.ts';
import type { DeliveryEvent } from './events.ts';
import { type Attempt, shortStatus } from './outcome.ts';

type Failed = Extract<Attempt, { kind: 'failed' }>;

/** What is to be done about one failure. */
export type FailureFate =
  | { readonly kind: 'report'; readonly to: Address }
  | { readonly kind: 'ignore'; readonly reason: Extract<DeliveryEvent, { kind: 'error-ignored' }>['reason'] }
  /** A young bounce that cannot be delivered: the message is frozen and the recipient stays. */
  | { readonly kind: 'freeze' };

export function failureFate(context: DeliveryContext, claim: Claim, failed: Failed): FailureFate {
  const { envelope, reception } = claim.entry;
  if (failed.errorsTo === null) return { kind: 'ignore', reason: 'errors_to is empty' };
  const notify = envelope.recipients[failed.who.position]?.notify;
  if (notify !== undefined && (notify === 'never' || !notify.includes('failure')))
    return { kind: 'ignore', reason: 'NOTIFY' };
  const to = failed.errorsTo ?? envelope.sender;
  if (to !== null) return { kind: 'report', to };
  const ageMs = context.nowMs() - reception.receivedAtMs;
  return ageMs > context.bounce.ignoreErrorsAfterMs
    ? { kind: 'ignore', reason: 'bounce is too old' }
    : { kind: 'freeze' };
}

export interface MadeBounce {
  readonly message: GeneratedMessage;
  readonly to: Address;
}

/** One bounce for each address that gets any, telling of all its failures. */
export async function makeBounces(
  context: DeliveryContext,
  claim: Claim,
  reports: readonly { readonly to: Address; readonly failed: Failed }[],
  signal: AbortSignal,
): Promise<readonly MadeBounce[]> {
  const byTarget = new Map<string, { readonly to: Address; readonly failures: FailedRecipient[] }>();
  for (const { to, failed } of reports) {
    const key = formatAddress(to);
    let target = byTarget.get(key);
    if (target === undefined) byTarget.set(key, (target = { to, failures: [] }));
    target.failures.push(failureFacts(claim.entry.envelope.recipients[failed.who.position], failed));
  }
  const returned = await returnedPart(context, claim, signal);
  const { entry } = claim;
  const nowMs = context.nowMs();
  const bounces: MadeBounce[] = [];
  for (const { to, failures } of byTarget.values()) {
    const copies = otherThan(to, (await context.bounce.copies?.(to)) ?? []);
    const id = context.spool.newId();
    const { content, eightBit } = composeBounce({
      id,
      to,
      failures,
      primaryHostname: context.main.primaryHostname,
      from: systemSender(context.main),
      ...(context.bounce.replyTo === undefined ? undefined : { replyTo: context.bounce.replyTo }),
      nowMs,
      original: {
        sender: entry.envelope.sender,
        receivedAtMs: entry.reception.receivedAtMs,
        ...(entry.envelope.envid === undefined ? undefined : { envid: entry.envelope.envid }),
        ...returned,
      },
      ...(context.bounce.extraText === undefined ? undefined : { extraText: context.bounce.extraText }),
    });
    const message: GeneratedMessage = {
      id,
      content,
      envelope: {
        sender: null,
        recipients: [{ address: to }, ...copies.map((address) => ({ address }))],
        ...(eightBit ? { body: '8BITMIME' } : undefined),
      },
      reception: madeHere(content, nowMs),
      headerEdits: [],
      variables: {},
    };
    bounces.push({ message, to });
  }
  return bounces;
}

/** Each address once. */
function otherThan(to: Address, copies: readonly Address[]): readonly Address[] {
  const seen = new Set([recipientKey(to)]);
  return copies.filter((address) => {
    const key = recipientKey(address);
    return !seen.has(key) && seen.add(key);
  });
}

function failureFacts(recipient: Recipient | undefined, failed: Failed): FailedRecipient {
  const { who, status, timedOut } = failed;
  return {
    address: who.address,
    ...(who.original === undefined ? undefined : { original: who.original }),
    ...(who.target === undefined ? undefined : { target: who.target }),
    ...(who.hidden === undefined ? undefined : { hidden: who.hidden }),
    ...(recipient?.orcpt === undefined ? undefined : { orcpt: recipient.orcpt }),
    status: {
      ...shortStatus(status),
      ...(status.output === undefined ? undefined : { output: status.output }),
    },
    timedOut,
  };
}

/** The header section as it would have been handed on, and as much of the body as is returned. */
async function returnedPart(
  context: DeliveryContext,
  claim: Claim,
  signal: AbortSignal,
): Promise<
  Pick<
    Parameters<typeof composeBounce>[0]['original'],
    'headers' | 'headerSection' | 'body' | 'truncatedFrom'
  >
> {
  const { entry, content } = claim;
  const { returnBody, returnSizeLimitBytes, returnLineLimit } = context.bounce;
  const edited = await editContent(content, entry.headerSize, entry.headerEdits, signal);
  const headerSize = entry.headerSize + edited.size - content.size;
  const lines = entry.reception.longestLine ?? 0;
  const overlong = returnLineLimit > 0 && lines > returnLineLimit;
  const bodyWanted = returnBody && !overlong && entry.envelope.ret !== 'HDRS';
  const wanted = bodyWanted ? Math.min(edited.size, Math.max(headerSize, returnSizeLimitBytes)) : headerSize;
  const start = await readStart(edited, wanted, signal);
  const headerSection = start.subarray(0, headerSize);
  const headers = parseHeaderFields(headerSection.toString('latin1'));
  if (!bodyWanted) return { headers, headerSection };
  const body = start.subarray(headerSize);
  return wanted < edited.size
    ? { headers, headerSection, body, truncatedFrom: edited.size }
    : { headers, headerSection, body };
}

/** Mail about malformed addresses in redirection lists, one for each list. */
export function makeListErrors(context: DeliveryContext, reports: readonly SyntaxReport[]): MadeBounce[] {
  const nowMs = context.nowMs();
  const { primaryHostname } = context.main;
  const from = systemSender(context.main);
  return reports.map((report) => {
    const id = context.spool.newId();
    const content = composeListErrors({ id, ...report, primaryHostname, from, nowMs });
    return {
      to: report.to,
      message: {
        id,
        content,
        envelope: { sender: null, recipients: [{ address: report.to }] },
        reception: madeHere(content, nowMs),
        headerEdits: [],
        variables: {},
      },
    };
  });
}
