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
import type { MailStore, StoreOutcome, StoreRecipient } from './mail-store.ts';
import { messageIdOf } from './message-id.ts';
import * as replies from './replies.ts';
import { mailboxText, traceFields } from './trace.ts';
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
  /** Dovecot's `lmtp_user_concurrency_limit`: deliveries under way at one time for one user. Default 0, no limit. */
  readonly userConcurrencyLimit?: number;
  /** Told of each delivery and each failed lookup; must not throw. */
  readonly onEvent?: (event: StoreEvent) => void;
  readonly nowMs?: () => number;
}

/** A RCPT that was accepted. */
interface Accepted {
  readonly recipient: StoreRecipient;
  /** Tells identical RCPTs: the address with its quoting taken off and its domain in lower case. */
  readonly key: string;
  /** The address as replies show it. */
  readonly shown: string;
  readonly session: string;
}

/** State that all transactions of a handler share. */
interface Shared {
  readonly options: StoreHandlerOptions;
  /** Deliveries under way by user name, kept only where there is a limit. */
  readonly busy: Map<string, number>;
}

/** Makes the handler for an LMTP server, whose `sessionId` names the transaction (`ID`, `ID:T2`, ...); recipients add their `:R2` here. */
export function createStoreHandler(options: StoreHandlerOptions): LmtpHandler {
  const shared: Shared = { options, busy: new Map() };
  return {
    begin: (client, sender) => Promise.resolve(transaction(shared, client, sender)),
  };
}

function transaction(shared: Shared, client: LmtpClientFacts, sender: ReversePath): LmtpTransaction {
  const { directory, recipientDelimiter = '+' } = shared.options;
  const accepted = new Map<number, Accepted>();
  let commands = 0;

  function judge(
    address: Address,
    position: number,
    answer: DirectoryAnswer,
    detail: string | undefined,
  ): Reply {
    const shown = mailboxText(address);
    const session = position === 0 ? client.sessionId : `${client.sessionId}:R${position + 1}`;
    switch (answer.kind) {
      case 'found': {
        const recipient = { address, user: answer.user, ...(detail === undefined ? {} : { detail }) };
        accepted.set(position, { recipient, key: recipientKey(address), shown, session });
        return replies.recipientOk;
      }
      case 'unknown':
        return replies.unknownUser(shown, plainText(splitDetail(address, recipientDelimiter).base));
      case 'unavailable':
        shared.options.onEvent?.({
          kind: 'lookup-failed',
          client: client.remoteAddress ?? 'local',
          session,
          recipient: shown,
          reason: answer.reason,
        });
        return replies.temporaryError(shown);
      default:
        return assertNever(answer);
    }
  }

  return {
    async rcpt({ address }: Recipient) {
      const position = commands++;
      const { base, detail } = splitDetail(address, recipientDelimiter);
      let answer: DirectoryAnswer;
      try {
        const found = directory.find(base);
        answer = found instanceof Promise ? await found : found;
      } catch (error) {
        answer = { kind: 'unavailable', reason: errorText(error) };
      }
      return judge(address, position, answer, detail);
    },
    async deliver(content, positions, signal) {
      const asked = positions.map((position) => accepted.get(position));
      return deliverTo(shared, client, sender, asked, content, signal);
    },
    end() {
      accepted.clear();
    },
  };
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
  const admitted: Accepted[] = [];
  const answers = new Map<string, Reply>();
  for (const a of distinct.values()) {
    if (admit(shared, a.recipient.user.username)) admitted.push(a);
    else answers.set(a.key, replies.tooManyDeliveries(a.shown));
  }
  try {
    const outcomes = await storeAll(shared, client, sender, asked.length, admitted, content, signal);
    const messageId = shared.options.onEvent === undefined ? undefined : await messageIdOf(content, signal);
    admitted.forEach((a, i) => {
      const outcome = outcomes[i] ?? { kind: 'unavailable', reason: 'the store gave no outcome' };
      answers.set(a.key, replyTo(shared, a, outcome));
      shared.options.onEvent?.(eventOf(client, a, outcome, messageId, content.size, shared.options));
    });
  } finally {
    for (const a of admitted) leave(shared, a.recipient.user.username);
  }
  return asked.map(
    (a) => (a === undefined ? undefined : answers.get(a.key)) ?? replies.temporaryError('unknown'),
  );
}

async function storeAll(
  { options }: Shared,
  client: LmtpClientFacts,
  sender: ReversePath,
  commandCount: number,
  admitted: readonly Accepted[],
  content: MessageSource,
  signal: AbortSignal,
): Promise<readonly StoreOutcome[]> {
  if (admitted.length === 0) return [];
  const only = commandCount === 1 ? admitted[0]?.recipient.address : undefined;
  const trace = traceFields({
    sender,
    lhlo: client.lhlo,
    ...(client.remoteAddress === undefined ? {} : { remoteAddress: client.remoteAddress }),
    hostname: options.hostname,
    transactionId: client.sessionId,
    ...(only === undefined ? {} : { onlyRecipient: only }),
    receivedAtMs: (options.nowMs ?? Date.now)(),
  });
  const recipients = admitted.map((a) => a.recipient);
  try {
    return await options.store.deliver({ sender, recipients, content, trace: () => trace }, signal);
  } catch (error) {
    const reason = errorText(error);
    return admitted.map(() => ({ kind: 'unavailable', reason }));
  }
}

function replyTo({ options }: Shared, a: Accepted, outcome: StoreOutcome): Reply {
  switch (outcome.kind) {
    case 'stored':
      return replies.saved(a.shown, a.session);
    case 'over-quota':
      return replies.overQuota(a.shown, outcome.text, options.quotaFullTempfail ?? false);
    case 'refused':
      return replies.refused(a.shown, outcome.text);
    case 'unavailable':
      return replies.storageError(a.shown, (options.nowMs ?? Date.now)());
    default:
      return assertNever(outcome);
  }
}

function eventOf(
  client: LmtpClientFacts,
  a: Accepted,
  outcome: StoreOutcome,
  messageId: string | undefined,
  sizeBytes: number,
  options: StoreHandlerOptions,
): DeliveryEvent {
  const temporary =
    outcome.kind === 'unavailable' || (outcome.kind === 'over-quota' && options.quotaFullTempfail === true);
  return {
    kind: 'delivery',
    client: client.remoteAddress ?? 'local',
    session: a.session,
    user: a.recipient.user.username,
    recipient: a.shown,
    ...(messageId === undefined ? {} : { messageId }),
    folder: 'INBOX',
    sizeBytes,
    outcome:
      outcome.kind === 'stored'
        ? { kind: 'saved' }
        : {
            kind: 'failed',
            temporary,
            reason: outcome.kind === 'unavailable' ? outcome.reason : outcome.text,
          },
  };
}

/** Counts a delivery for the user in, unless the limit is reached. */
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
