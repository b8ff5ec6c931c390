/** A handler for servers that only need to know who exists and what became of a message: two functions, no replies to word. */
import { formatAddress, type ReversePath } from '../../mail/address.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { type Reply, replyFromText } from '../../mail/reply.ts';
import type { LmtpClientFacts, LmtpHandler, LmtpTransaction } from './handler.ts';

/** Whether a recipient exists. */
export type RecipientVerdict<Mailbox> =
  /** `mailbox` is whatever your `deliver` knows it by. */
  | { readonly kind: 'found'; readonly mailbox: Mailbox }
  /** 550 5.1.1: the sender is told that there is no such user. */
  | { readonly kind: 'unknown' }
  /** 451 4.3.0: nobody can say now, the client tries again. */
  | { readonly kind: 'unavailable' }
  /** 550 5.7.1 with your text. */
  | { readonly kind: 'refused'; readonly text: string };

/** What became of the message for one mailbox. */
export type MailboxOutcome =
  /** 250: it is on disk. From now on it is yours to keep. */
  | { readonly kind: 'stored' }
  /** 552 5.2.2, or 452 4.2.2 where `temporary` says that the client shall try again. */
  | { readonly kind: 'over-quota'; readonly temporary?: boolean }
  /** 550 5.7.1 with your text: the sender is told. */
  | { readonly kind: 'refused'; readonly text: string }
  /** 451 4.3.0: the client keeps the message and tries again. */
  | { readonly kind: 'unavailable' };

/** A message that is here as a whole, for as long as its outcomes are waited for. */
export interface IncomingMessage extends Omit<Envelope, 'recipients'> {
  /** Null for `<>`, the sender of bounces. */
  readonly sender: ReversePath;
  readonly client: LmtpClientFacts;
  /** Length in octets, with CRLF line ends and without dot-stuffing. */
  readonly size: number;
  /** The whole content where it is small and in memory anyway. */
  readonly bytes?: Uint8Array;
  /** Reads the content from its beginning, as often as you like, in parts of at most some 64 KiB. */
  open(): AsyncIterable<Uint8Array>;
  /** Aborted when the server closes and its time of grace is over. `open` rejects then. */
  readonly signal: AbortSignal;
}

/** What you write. `Mailbox` is what your verdicts give: a user's name, a row, an object. */
export interface MailboxService<Mailbox> {
  /** Asked at each RCPT, one after the other. Throwing means `unavailable`. */
  verify(
    recipient: Recipient,
    sender: ReversePath,
    client: LmtpClientFacts,
  ): Awaitable<RecipientVerdict<Mailbox>>;
  /**
   * Gives one outcome per mailbox, in their order; a recipient that was given twice is there twice. Each may be a promise,
   * and one that rejects means `unavailable` for its mailbox alone.
   */
  deliver(
    message: IncomingMessage,
    mailboxes: readonly Mailbox[],
  ): Awaitable<readonly Awaitable<MailboxOutcome>[]>;
  /** Told what `verify` and `deliver` threw; must not throw itself. */
  onError?(error: unknown): void;
}

/** Makes the handler for `createLmtpServer`. */
export function mailboxHandler<Mailbox>(service: MailboxService<Mailbox>): LmtpHandler {
  return {
    begin: (client, sender, params) => Promise.resolve(transaction(service, client, sender, params)),
  };
}

interface Accepted<Mailbox> {
  readonly recipient: Recipient;
  readonly mailbox: Mailbox;
}

function transaction<Mailbox>(
  service: MailboxService<Mailbox>,
  client: LmtpClientFacts,
  sender: ReversePath,
  params: Omit<Envelope, 'sender' | 'recipients'>,
): LmtpTransaction {
  /** By position of the RCPT command. */
  const accepted = new Map<number, Accepted<Mailbox>>();
  let commands = 0;

  /** One fault is one recipient's: what the others' outcomes say has happened already. */
  async function answer(given: Awaitable<MailboxOutcome> | undefined, recipient: Recipient): Promise<Reply> {
    try {
      if (given !== undefined) return outcomeReply(await given, recipient);
      service.onError?.(new RangeError('deliver gave fewer outcomes than there are mailboxes'));
    } catch (error) {
      service.onError?.(error);
    }
    return outcomeReply({ kind: 'unavailable' }, recipient);
  }

  return {
    async rcpt(recipient) {
      const position = commands++;
      try {
        const verdict = await service.verify(recipient, sender, client);
        if (verdict.kind === 'found') accepted.set(position, { recipient, mailbox: verdict.mailbox });
        return verdictReply(verdict, recipient);
      } catch (error) {
        service.onError?.(error);
        return verdictReply({ kind: 'unavailable' }, recipient);
      }
    },
    async deliver(content, positions, signal) {
      const to = positions.flatMap((position) => accepted.get(position) ?? []);
      const message = incoming(client, sender, params, content, signal);
      let given: readonly Awaitable<MailboxOutcome>[] = to.map(() => ({ kind: 'unavailable' }));
      try {
        given = await service.deliver(
          message,
          to.map((a) => a.mailbox),
        );
      } catch (error) {
        service.onError?.(error);
      }
      return Promise.all(to.map(({ recipient }, i) => answer(given[i], recipient)));
    },
    end() {
      accepted.clear();
    },
  };
}

function incoming(
  client: LmtpClientFacts,
  sender: ReversePath,
  params: Omit<Envelope, 'sender' | 'recipients'>,
  content: MessageSource,
  signal: AbortSignal,
): IncomingMessage {
  const { size, bytes } = content;
  const open = (): AsyncIterable<Uint8Array> => content.open(signal);
  return { ...params, sender, client, size, ...(bytes === undefined ? {} : { bytes }), open, signal };
}

function verdictReply<Mailbox>(verdict: RecipientVerdict<Mailbox>, { address }: Recipient): Reply {
  const about = `<${formatAddress(address)}>`;
  switch (verdict.kind) {
    case 'found':
      return replyFromText(250, '2.1.5', 'OK');
    case 'unknown':
      return replyFromText(550, '5.1.1', `${about} User doesn't exist`);
    case 'unavailable':
      return replyFromText(451, '4.3.0', `${about} Temporary internal error`);
    case 'refused':
      return replyFromText(550, '5.7.1', `${about} ${verdict.text}`);
    default:
      return assertNever(verdict);
  }
}

function outcomeReply(outcome: MailboxOutcome, { address }: Recipient): Reply {
  const about = `<${formatAddress(address)}>`;
  switch (outcome.kind) {
    case 'stored':
      return replyFromText(250, '2.0.0', `${about} Saved`);
    case 'over-quota':
      return outcome.temporary === true
        ? replyFromText(452, '4.2.2', `${about} Quota exceeded`)
        : replyFromText(552, '5.2.2', `${about} Quota exceeded`);
    case 'refused':
      return replyFromText(550, '5.7.1', `${about} ${outcome.text}`);
    case 'unavailable':
      return replyFromText(451, '4.3.0', `${about} Temporary internal error`);
    default:
      return assertNever(outcome);
  }
}
