/** Groups recipients of one message that can share a transaction (Exim manual, "Delivery in detail", "Address batching"). */
import { formatPath, type ReversePath } from '../mail/address.ts';
import type { Recipient } from '../mail/envelope.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { RoutedTo } from '../router/environment.ts';
import type { EventRecipient } from './events.ts';
import type { PendingState } from './outcome.ts';

/** A recipient with the place it goes to. */
export interface RoutedRecipient {
  /** Position in the envelope. */
  readonly position: number;
  /** Number of the task it is: one for each address a recipient was redirected to. */
  readonly task: number;
  /** Exim's unique name of the address; empty for the recipient itself. */
  readonly key: string;
  /** How it went before. */
  readonly before: PendingState;
  /** Of the envelope; `routed.address` is what RCPT gets. */
  readonly recipient: Recipient;
  /** For the log and bounces. */
  readonly who: EventRecipient;
  readonly routed: RoutedTo;
}

/** Recipients with one destination, reverse path and set of header edits, in envelope order. */
export interface RecipientGroup {
  readonly transport: string;
  readonly hosts: readonly RouteHost[];
  /** See RoutedTo. */
  readonly fallback?: readonly RouteHost[];
  /** The hosts are those to fall back on. */
  readonly fallenBack?: true;
  readonly sender: ReversePath;
  readonly members: readonly [RoutedRecipient, ...RoutedRecipient[]];
}

/**
 * @param sender of the message
 * @param maxRecipients of a transport, at least 1; may be Infinity
 */
export function groupRecipients(
  routed: readonly RoutedRecipient[],
  sender: ReversePath,
  maxRecipients: (transport: string) => number,
): RecipientGroup[] {
  const [first] = routed;
  if (first === undefined) return [];
  if (routed.length === 1) return [group(first, sender)];
  const open = new Map<string, [RoutedRecipient, ...RoutedRecipient[]]>();
  const out: RecipientGroup[] = [];
  for (const item of routed) {
    const key = destinationKey(item.routed);
    const members = open.get(key);
    if (members !== undefined && members.length < maxRecipients(item.routed.transport ?? '')) {
      members.push(item);
      continue;
    }
    const fresh = group(item, sender);
    open.set(key, fresh.members);
    out.push(fresh);
  }
  return out;
}

interface OpenGroup extends RecipientGroup {
  readonly members: [RoutedRecipient, ...RoutedRecipient[]];
}

function group(item: RoutedRecipient, sender: ReversePath): OpenGroup {
  const { routed } = item;
  return {
    transport: routed.transport ?? '',
    hosts: routed.hosts,
    ...(routed.fallback === undefined ? undefined : { fallback: routed.fallback }),
    sender: routed.errorsTo === undefined ? sender : routed.errorsTo,
    members: [item],
  };
}

function destinationKey(r: RoutedTo): string {
  const hosts = r.hosts.map(hostText);
  if (r.unordered) hosts.sort();
  const errors = r.errorsTo === undefined ? '' : formatPath(r.errorsTo);
  const edits = r.headerEdits.length === 0 ? '' : JSON.stringify(r.headerEdits);
  const local = r.delivery === undefined ? '' : JSON.stringify(r.delivery);
  const fallback = r.fallback === undefined ? '' : `fallback ${r.fallback.map(hostText).join()}`;
  return [r.transport ?? '', errors, edits, local, fallback, ...hosts].join('\n');
}

function hostText({ name, address, port, mx }: RouteHost): string {
  return `${name}\0${address ?? ''}\0${port ?? ''}\0${mx ?? ''}`;
}
