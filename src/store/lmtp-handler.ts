/** The store's side of the LMTP dialogue: recipients by the directory, messages into the mail store. Dovecot's lmtp is the reference. */
import type { Address, ReversePath } from '../mail/address.ts';
import { assertNever } from '../mail/assert-never.ts';
import type { Recipient } from '../mail/envelope.ts';
import { lowerAscii, unquoteLocalPart } from '../mail/local-part.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Reply } from '../mail/reply.ts';
import type { Directory, DirectoryAnswer } from '../directory/directory.ts';
import type { LmtpClientFacts, LmtpHandler, LmtpTransaction } from '../lmtp/server/handler.ts';
import { splitDetail } from './detail.ts';
import type { DeliveryEvent, StoreEvent } from './events.ts';
import type { DeliveryFilter } from './filter.ts';
import { deliverFiltered } from './filtered-delivery.ts';
import type { Fate, Filed } from './filtered-delivery.ts';
import { headerOf, messageIdIn } from './header.ts';
import type { MailStore, StoreRecipient } from './mail-store.ts';
import type { ProxyTransaction, StoreProxy } from './proxy/proxy.ts';
import * as replies from './replies.ts';
import { mailboxText, traceFields } from './trace.ts';
import type { Begun, Transfers } from './transfers.ts';
import type { DeliveryAddress } from './trace.ts';
import { errorText } from '../mail/error-text.ts';

export interface StoreHandlerOptions {
  readonly directory: Directory;
  readonly store: MailStore;
  /** This store's name, for Received. */
  readonly hostname: string;
  /** Dovecot's `recipient_delimiter`: each character may part user and detail; empty for none. Default `+`. */
  readonly recipientDelimiter?: string;
  /** Dovecot's `quota_full_tempfail`: 452 4.2.2 instead of 552 5.2.2. */
  readonly quotaFullTempfail?: boolean;
  /** Dovecot's `lmtp_user_concurrency_limit`: recipients at one time that are one user, over all open transactions. Default 0, no limit. */
  readonly userConcurrencyLimit?: number;
  /** Decides for each recipient what becomes of a message; without one all mail goes into the INBOX. */
  readonly filter?: DeliveryFilter;
  /** Dovecot's `lmtp_hdr_delivery_address`. Default `final`. */
  readonly deliveryAddress?: DeliveryAddress;
  /** Dovecot's `lmtp_add_received_header`. Default true. */
  readonly addReceived?: boolean;
  /** Hands on the mail of users whose entry names another server; without one they are put off. */
  readonly proxy?: StoreProxy;
  /** Repeats of what was handed over before are answered without storing a second copy. */
  readonly transfers?: Transfers;
  /** Told of each delivery and each failed lookup; must not throw. */
  readonly onEvent?: (event: StoreEvent) => void;
  readonly nowMs?: () => number;
}

/** A RCPT that was accepted. */
interface Accepted {
  readonly recipient: StoreRecipient;
  readonly orcpt: string | undefined;
  /** Tells identical RCPTs: the address with its quoting taken off and its domain in lower case. */
  readonly key: string;
  /** The address as replies show it. */
  readonly shown: string;
  readonly session: string;
  /** What the client named the transfer to this recipient. */
  readonly transfer: string | undefined;
}

/** State that all transactions of a handler share. */
interface Shared {
  readonly options: StoreHandlerOptions;
  /** Recipients of open transactions by user name, kept only where there is a limit. */
  readonly busy: Map<string, number>;
}

/** Makes the handler for an LMTP server, whose `sessionId` names the transaction (`ID`, `ID:T2`, ...); recipients add their `:R2` here. */
export function createStoreHandler(options: StoreHandlerOptions): LmtpHandler {
  const shared: Shared = { options, busy: new Map() };
  return {
    begin: (client, sender, params) => {
      const proxied = options.proxy?.begin(client, sender, params);
      return Promise.resolve(transaction(shared, client, sender, params, proxied));
    },
  };
}

function transaction(
  shared: Shared,
  client: LmtpClientFacts,
  sender: ReversePath,
  { declaredSize, transfer }: Parameters<LmtpHandler['begin']>[2],
  proxied: ProxyTransaction | undefined,
): LmtpTransaction {
  const { directory, recipientDelimiter = '+' } = shared.options;
  const accepted = new Map<number, Accepted>();
  let commands = 0;

  /** The recipient where there is such a user here, else the reply. */
  function judge(
    address: Address,
    position: number,
    answer: DirectoryAnswer,
    detail: string | undefined,
    { orcpt, transferNumber }: Recipient,
  ): Accepted | Reply {
    const shown = mailboxText(address);
    const session = sessionOf(client, position);
    switch (answer.kind) {
      case 'found': {
        const recipient = { address, user: answer.user, ...(detail === undefined ? {} : { detail }) };
        const key = recipientKey(address);
        const name =
          transfer === undefined || transferNumber === undefined
            ? undefined
            : `${transfer}/${transferNumber}/${key}`;
        return { recipient, orcpt, key, shown, session, transfer: name };
      }
      case 'unknown':
        return replies.unknownUser(shown, plainText(splitDetail(address, recipientDelimiter).base));
      case 'unavailable':
        tellLookupFailed(shown, session, answer.reason);
        return replies.temporaryError(shown);
      default:
        return assertNever(answer);
    }
  }

  function tellLookupFailed(recipient: string, session: string, reason: string): void {
    const from = client.remoteAddress ?? 'local';
    shared.options.onEvent?.({ kind: 'lookup-failed', client: from, session, recipient, reason });
  }

  /** The reply to a recipient who can take nothing. Where a filter may choose the folder, that is for the end of the data. */
  async function noRoomFor(a: Accepted): Promise<Reply | undefined> {
    const { store, filter } = shared.options;
    const { user, detail } = a.recipient;
    if (store.check === undefined || (filter !== undefined && detail !== undefined)) return undefined;
    const found = store.check(user, undefined, declaredSize);
    const fate = found instanceof Promise ? await found : found;
    if (fate === undefined || isRepeat(a)) return undefined;
    if (fate.kind === 'unavailable') {
      tellRefused(a, fate.reason, 'Error');
      return replies.temporaryError(a.shown);
    }
    tellRefused(a, fate.text, 'Info');
    return replyTo(shared, a, { fate, folder: 'INBOX' });
  }

  /** What is in the mailbox already needs no room. Where nobody knows, the end of the data tells. */
  function isRepeat({ transfer }: Accepted): boolean {
    try {
      return transfer !== undefined && shared.options.transfers?.isKnown(transfer) === true;
    } catch {
      return true;
    }
  }

  function tellRefused(
    { recipient, shown, session }: Accepted,
    reason: string,
    level: 'Info' | 'Error',
  ): void {
    shared.options.onEvent?.({
      kind: 'refused-at-rcpt',
      client: client.remoteAddress ?? 'local',
      session,
      user: recipient.user.username,
      recipient: shown,
      reason,
      level,
    });
  }

  return {
    async rcpt(recipient: Recipient) {
      const { address } = recipient;
      const position = commands++;
      const { base, detail } = splitDetail(address, recipientDelimiter);
      let answer: DirectoryAnswer;
      try {
        const found = directory.find(base);
        answer = found instanceof Promise ? await found : found;
      } catch (error) {
        answer = { kind: 'unavailable', reason: errorText(error) };
      }
      if (answer.kind === 'found' && answer.user.proxy !== undefined) {
        const shown = mailboxText(address);
        const session = sessionOf(client, position);
        const suffix = unquoteLocalPart(address.local).slice(unquoteLocalPart(base.local).length);
        const target = answer.user.proxy;
        if (proxied !== undefined)
          return proxied.rcpt({ position, recipient, suffix, target, shown, session });
        answer = { kind: 'unavailable', reason: 'the user is held by another server, and there is no proxy' };
      }
      const a = judge(address, position, answer, detail, recipient);
      if ('code' in a) return a;
      const full = await noRoomFor(a);
      if (full !== undefined) return full;
      if (!admit(shared, a.recipient.user.username)) {
        tellRefused(a, 'Too many concurrent deliveries for user', 'Info');
        return replies.tooManyDeliveries(a.shown);
      }
      accepted.set(position, a);
      return replies.recipientOk;
    },
    async deliver(content, positions, signal) {
      const asked = positions.map((position) => accepted.get(position));
      const [there, here] = await Promise.all([
        proxied?.deliver(content, positions, signal),
        deliverTo(shared, client, sender, asked, content, signal),
      ]);
      return here.map((reply, i) => there?.get(positions[i] ?? -1) ?? reply);
    },
    end() {
      proxied?.end();
      for (const a of accepted.values()) leave(shared, a.recipient.user.username);
      accepted.clear();
    },
  };
}

/** Dovecot's name for the recipient of a transaction. */
function sessionOf(client: LmtpClientFacts, position: number): string {
  return position === 0 ? client.sessionId : `${client.sessionId}:R${position + 1}`;
}

/** The name that was looked up, without quoting, as Dovecot shows it. */
function plainText({ local, domain }: Address): string {
  const name = unquoteLocalPart(local);
  return domain === '' ? name : `${name}@${domain}`;
}

/** Dovecot compares the domain without case, the local part with it, and quoting not at all. */
function recipientKey(address: Address): string {
  return `${unquoteLocalPart(address.local)}@${lowerAscii(address.domain)}`;
}

async function deliverTo(
  shared: Shared,
  client: LmtpClientFacts,
  sender: ReversePath,
  asked: readonly (Accepted | undefined)[],
  content: MessageSource,
  signal: AbortSignal,
): Promise<readonly Reply[]> {
  // A repeated RCPT is stored once and its reply given again, address and session included, as Dovecot does.
  const distinct = new Map<string, Accepted>();
  for (const a of asked) if (a !== undefined && !distinct.has(a.key)) distinct.set(a.key, a);
  const admitted = [...distinct.values()];
  const answers = new Map<string, Reply>();
  const begun: (Extract<Begun, { kind: 'new' }> | undefined)[] = [];
  try {
    const fresh = await withoutRepeats(shared, admitted, begun, answers);
    const filed = await storeAll(shared, client, sender, asked.length, fresh, content, signal);
    const header = shared.options.onEvent === undefined ? undefined : await headerOf(content, signal);
    const messageId = header === undefined ? undefined : messageIdIn(header);
    fresh.forEach((a, i) => {
      const end = filed[i] ?? { fate: { kind: 'unavailable', reason: 'no outcome' }, folder: 'INBOX' };
      answers.set(a.key, replyTo(shared, a, end));
      begun[i]?.end(end.fate.kind === 'stored');
      begun[i] = undefined;
      shared.options.onEvent?.(eventOf(client, a, end, messageId, content.size, shared.options));
    });
    await nameTwins(shared, asked, distinct, answers);
  } finally {
    for (const one of begun) one?.end(false);
  }
  return asked.map(
    (a) => (a === undefined ? undefined : answers.get(a.key)) ?? replies.temporaryError('unknown'),
  );
}

/** A repeated RCPT with a number of its own may be repeated alone: its name stands for the one copy too. */
async function nameTwins(
  { options: { transfers } }: Shared,
  asked: readonly (Accepted | undefined)[],
  distinct: ReadonlyMap<string, Accepted>,
  answers: ReadonlyMap<string, Reply>,
): Promise<void> {
  if (transfers === undefined || asked.length === distinct.size) return;
  for (const a of asked) {
    const first = a === undefined ? undefined : distinct.get(a.key);
    if (a?.transfer === undefined || first === undefined || first.transfer === a.transfer) continue;
    if (answers.get(a.key)?.code === 250) await transfers.also(a.transfer, first.session);
  }
}

/**
 * Answers those who have the message from an earlier attempt; gives the others, each with its place in the journal. In the order of
 * their names, so that two transactions never wait for each other.
 */
async function withoutRepeats(
  { options }: Shared,
  admitted: readonly Accepted[],
  begun: (Extract<Begun, { kind: 'new' }> | undefined)[],
  answers: Map<string, Reply>,
): Promise<readonly Accepted[]> {
  const { transfers } = options;
  if (transfers === undefined || admitted.every((a) => a.transfer === undefined)) return admitted;
  const fresh: Accepted[] = [];
  const ordered = admitted.toSorted((a, b) => ((a.transfer ?? '') < (b.transfer ?? '') ? -1 : 1));
  for (const a of ordered) {
    if (a.transfer === undefined) {
      fresh.push(a);
      begun.push(undefined);
      continue;
    }
    const one = await transfers.begin(a.transfer, a.session);
    if (one.kind === 'stored') {
      answers.set(a.key, replies.saved(a.shown, one.session));
      continue;
    }
    begun.push(one);
    fresh.push({ ...a, recipient: { ...a.recipient, announce: (token) => one.announce(token) } });
  }
  return fresh;
}

async function storeAll(
  { options }: Shared,
  client: LmtpClientFacts,
  sender: ReversePath,
  commandCount: number,
  admitted: readonly Accepted[],
  content: MessageSource,
  signal: AbortSignal,
): Promise<readonly Filed[]> {
  if (admitted.length === 0) return [];
  const only = commandCount === 1 ? admitted[0] : undefined;
  const { deliveryAddress, addReceived } = options;
  const trace = traceFields({
    sender,
    lhlo: client.lhlo,
    ...(client.remoteAddress === undefined ? {} : { remoteAddress: client.remoteAddress }),
    ...(client.tls === undefined ? {} : { tls: client.tls }),
    ...(client.protocol === undefined ? {} : { protocol: client.protocol }),
    hostname: options.hostname,
    transactionId: client.sessionId,
    ...(only === undefined ? {} : { onlyRecipient: only.recipient.address }),
    ...(only?.orcpt === undefined ? {} : { originalRecipient: only.orcpt }),
    ...(deliveryAddress === undefined ? {} : { deliveryAddress }),
    ...(addReceived === undefined ? {} : { addReceived }),
    receivedAtMs: (options.nowMs ?? Date.now)(),
  });
  const recipients = admitted.map((a) => a.recipient);
  const delivery = { sender, recipients, content, trace: () => trace };
  return deliverFiltered(options.store, options.filter, delivery, signal);
}

function replyTo({ options }: Shared, a: Accepted, { fate }: Filed): Reply {
  switch (fate.kind) {
    case 'stored':
    case 'discarded':
      return replies.saved(a.shown, a.session);
    case 'over-quota':
      return replies.overQuota(a.shown, fate.text, options.quotaFullTempfail ?? false);
    case 'too-big':
      return replies.tooBig(a.shown, fate.text);
    case 'refused':
      return replies.refused(a.shown, fate.text);
    case 'put-off':
      return replies.putOff(a.shown, fate.text);
    case 'unavailable':
      return replies.storageError(a.shown, (options.nowMs ?? Date.now)());
    default:
      return assertNever(fate);
  }
}

function eventOf(
  client: LmtpClientFacts,
  a: Accepted,
  { fate, folder, failed }: Filed,
  messageId: string | undefined,
  sizeBytes: number,
  options: StoreHandlerOptions,
): DeliveryEvent {
  return {
    kind: 'delivery',
    client: client.remoteAddress ?? 'local',
    session: a.session,
    user: a.recipient.user.username,
    recipient: a.shown,
    ...(messageId === undefined ? {} : { messageId }),
    folder,
    ...(failed === undefined ? {} : { failedFolder: failed }),
    sizeBytes,
    outcome: toldOutcome(fate, options),
  };
}

function toldOutcome(fate: Fate, options: StoreHandlerOptions): DeliveryEvent['outcome'] {
  switch (fate.kind) {
    case 'stored':
      return { kind: 'saved' };
    case 'discarded':
      return { kind: 'discarded' };
    case 'unavailable':
      return { kind: 'failed', temporary: true, reason: fate.reason };
    case 'put-off':
      return { kind: 'failed', temporary: true, reason: fate.text };
    case 'over-quota':
      return { kind: 'failed', temporary: options.quotaFullTempfail === true, reason: fate.text };
    case 'too-big':
    case 'refused':
      return { kind: 'failed', temporary: false, reason: fate.text };
    default:
      return assertNever(fate);
  }
}

/** Counts a recipient in, unless the limit of its user is reached: from RCPT to the end of the transaction, as Dovecot does. */
function admit({ options, busy }: Shared, username: string): boolean {
  const limit = options.userConcurrencyLimit ?? 0;
  if (limit === 0) return true;
  const now = busy.get(username) ?? 0;
  if (now >= limit) return false;
  busy.set(username, now + 1);
  return true;
}

function leave({ options, busy }: Shared, username: string): void {
  if ((options.userConcurrencyLimit ?? 0) === 0) return;
  const now = busy.get(username) ?? 0;
  if (now <= 1) busy.delete(username);
  else busy.set(username, now - 1);
}
