/** One mail transaction of an SMTP session, from MAIL to the end of its content (RFC 5321 §3.3). */
import type { AclControls } from '../../acl/control.ts';
import { type AclMemory, newAclMemory } from '../../acl/environment.ts';
import type { MessageFacts } from '../../expand/scope.ts';
import type { Address } from '../../mail/address.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { HeaderEdit } from '../../mail/headers.ts';
import { lowerAscii } from '../../mail/local-part.ts';
import type { QueueId } from '../../mail/message-id.ts';
import type { MailCommand } from '../../smtp/server/handler.ts';

export interface Transaction {
  readonly command: MailCommand;
  readonly facts: MessageFacts;
  /** Given before there is any content, where servers are told of the message before. */
  id?: QueueId;
  readonly recipients: Recipient[];
  /** Of the recipients; `facts` has the same array. */
  readonly addresses: Address[];
  /** What {@link placeOf} gives for each of them. */
  readonly places: Map<string, Recipient>;
  readonly memory: AclMemory;
  headerEdits: readonly HeaderEdit[];
  controls: AclControls;
  /** For each RCPT that was accepted, which of the recipients it is; undefined where it was discarded. */
  readonly accepted: (Recipient | undefined)[];
}

/** @param command its sender has a domain */
export function beginTransaction(command: MailCommand): Transaction {
  const addresses: Address[] = [];
  return {
    command,
    facts: {
      sender: command.sender,
      declaredSize: command.params.declaredSize ?? -1,
      size: -1,
      bodyIs8bit: command.params.body === '8BITMIME',
      recipients: addresses,
      rcptCount: 0,
      receivedAtMs: Date.now(),
      variables: new Map(),
      taintedVariables: new Set(),
    },
    recipients: [],
    addresses,
    places: new Map(),
    memory: newAclMemory(),
    headerEdits: [],
    controls: {},
    accepted: [],
  };
}

/** A RCPT is answered with 250; the recipient is one of the message's unless an ACL discarded it. */
export function accept(
  { recipients, addresses, places, accepted }: Transaction,
  recipient: Recipient,
  discarded: boolean,
): void {
  const place = placeOf(recipient);
  if (!discarded && !places.has(place)) {
    places.set(place, recipient);
    recipients.push(recipient);
    addresses.push(recipient.address);
  }
  accepted.push(places.get(place));
}

/** The same address twice is delivered once, as in Exim, unless the two want different reports (RFC 3461 §4). */
function placeOf({ address, orcpt, notify }: Recipient): string {
  const place = `${address.local}@${lowerAscii(address.domain)}`;
  return orcpt === undefined && notify === undefined ? place : JSON.stringify([place, orcpt, notify]);
}
