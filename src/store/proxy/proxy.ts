/**
 * Mail of users whose mailbox another server holds: their part of a transaction is handed on there as it comes in, so
 * that the backend answers each RCPT in the dialogue. Dovecot's lmtp proxy is the reference.
 */
import { formatAddress, type Address, type ReversePath } from '../../mail/address.ts';
import { endpointKey } from '../../mail/endpoint.ts';
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { ProxyTarget } from '../../mail/mail-user.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { isPositive, type Reply } from '../../mail/reply.ts';
import type { LmtpClientFacts } from '../../lmtp/server/handler.ts';
import {
  createHeldPool,
  type HeldAnswer,
  type HeldOptions,
  type HeldPool,
  type HeldTransaction,
} from '../../lmtp/client/held.ts';
import { receivedField } from '../trace.ts';
import { countReceived, headerOf } from '../header.ts';
import { temporaryError } from '../replies.ts';
import { destination } from './destination.ts';
import type { ProxyEvent } from './events.ts';
import { faultText, finalReply, loops, rcptReply, tooManyHops, ttlSpent } from './replies.ts';
import { originalRecipient, targetKey, toldClient } from './target.ts';
import { Unreachable } from './unreachable.ts';

export interface StoreProxyOptions {
  /** Our name: for LHLO, and for Received. */
  readonly hostname: string;
  /** For users whose entry says nothing, milliseconds. Default 125000, as in Dovecot. */
  readonly timeoutMs?: number;
  /** Limit of making a connection, milliseconds. Default 30000, as in Dovecot. */
  readonly connectTimeoutMs?: number;
  /** Connections to one backend at a time. A transaction that waits for one longer than its limit is answered 451. Default 100. */
  readonly maxConnections?: number;
  /** How long an unused connection is kept, milliseconds. Default 5000. */
  readonly idleTimeoutMs?: number;
  /** False takes any certificate. Default true. */
  readonly verifyCertificates?: boolean;
  /** Certificates to trust, PEM; the ones Node brings where absent. */
  readonly trustedCertificates?: string;
  /** Whether this server itself listens there. */
  readonly isOurself?: (host: string, port: number) => boolean;
  /** Told of what was handed on and what could not be; must not throw. */
  readonly onEvent?: (event: ProxyEvent) => void;
  readonly nowMs?: () => number;
}

/** A RCPT for a user with a {@link ProxyTarget}. */
export interface ProxyRecipient {
  /** Counting from 0 over all RCPT commands of the transaction. */
  readonly position: number;
  readonly recipient: Recipient;
  /** What stands behind the user's name in the local part: `+detail` with its delimiter, or nothing. */
  readonly suffix: string;
  readonly target: ProxyTarget;
  /** The address as replies show it. */
  readonly shown: string;
  /** Session id with transaction and recipient. */
  readonly session: string;
}

/** The handed-on part of one transaction. */
export interface ProxyTransaction {
  /** The backend's reply, or 451 where there is none. Never rejects. */
  rcpt(recipient: ProxyRecipient): Promise<Reply>;
  /** Hands the content to all backends at once. Gives the reply of each position that was accepted here. Never rejects. */
  deliver(
    content: MessageSource,
    accepted: readonly number[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, Reply>>;
  end(): void;
}

export interface StoreProxy {
  begin(
    client: LmtpClientFacts,
    sender: ReversePath,
    params: Omit<Envelope, 'sender' | 'recipients'>,
  ): ProxyTransaction;
  /** Ends every wait, closes the connections. */
  close(): Promise<void>;
}

/** What all transactions share. */
interface Shared {
  readonly options: StoreProxyOptions;
  readonly pool: HeldPool;
  readonly unreachable: Unreachable;
  readonly giveUp: AbortController;
}

export function createStoreProxy(options: StoreProxyOptions): StoreProxy {
  const shared: Shared = {
    options,
    pool: createHeldPool({
      maxPerEndpoint: options.maxConnections ?? 100,
      idleTimeoutMs: options.idleTimeoutMs ?? 5_000,
    }),
    unreachable: new Unreachable(),
    giveUp: new AbortController(),
  };
  return {
    begin: (client, sender, params) => new HandOn(shared, client, { sender, ...params }),
    async close() {
      shared.giveUp.abort();
      await shared.pool.close();
    },
  };
}

/** One backend's part of a transaction. */
interface Part {
  readonly target: ProxyTarget;
  readonly held: HeldTransaction;
  readonly beganAtMs: number;
  /** In the order of their RCPTs. */
  readonly accepted: { readonly recipient: ProxyRecipient; readonly sentTo: Address }[];
}

/** Received fields from which on a message is taken to go round: a loop of servers that do not trust each other has no TTL (Postfix: hopcount_limit). */
const maxHops = 50;

class HandOn implements ProxyTransaction {
  readonly #shared: Shared;
  readonly #client: LmtpClientFacts;
  readonly #envelope: Omit<Envelope, 'recipients'>;
  readonly #parts = new Map<string, Part>();

  constructor(shared: Shared, client: LmtpClientFacts, envelope: Omit<Envelope, 'recipients'>) {
    this.#shared = shared;
    this.#client = client;
    this.#envelope = envelope;
  }

  async rcpt(r: ProxyRecipient): Promise<Reply> {
    const { options, unreachable } = this.#shared;
    const { target, recipient, shown, session } = r;
    const sentTo = destination(recipient.address, target, r.suffix);
    if (typeof sentTo === 'string') {
      this.#refused(r, sentTo);
      return temporaryError(shown);
    }
    if (options.isOurself?.(target.host, target.port) === true) {
      this.#refused(r, 'loops to itself');
      return loops(shown);
    }
    if (this.#client.forwarded?.ttl === 0) {
      this.#refused(r, 'appears to be looping (TTL=0)');
      return ttlSpent(shown);
    }
    const key = targetKey(target);
    const known = this.#parts.get(key);
    const part = known ?? this.#begin(key, target);
    const down = known === undefined ? unreachable.answer(key) : undefined;
    const asked: Recipient = {
      ...recipient,
      address: sentTo,
      ...originalRecipient(recipient),
    };
    const answer = down ?? (await part.held.rcpt(asked));
    if (down === undefined) unreachable.note(key, answer);
    else this.#parts.delete(key);
    if (answer.kind === 'reply' && answer.stage === 'rcpt' && isPositive(answer.reply))
      part.accepted.push({ recipient: r, sentTo });
    if (answer.kind === 'unanswered' && down === undefined) this.#refused(r, `failed: ${faultText(answer)}`);
    return rcptReply(answer, shown, session);
  }

  async deliver(
    content: MessageSource,
    accepted: readonly number[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, Reply>> {
    const replies = new Map<number, Reply>();
    const parts = [...this.#parts.values()].filter((p) => p.accepted.length > 0);
    if (parts.length === 0) return replies;
    const hops = countReceived((await headerOf(content, signal)) ?? '');
    if (hops >= maxHops) {
      for (const { recipient } of parts.flatMap((p) => p.accepted)) {
        this.#refused(recipient, `appears to be looping (${hops} Received fields)`);
        replies.set(recipient.position, tooManyHops(recipient.shown));
      }
      return replies;
    }
    const only = accepted.length === 1;
    const run = async (part: Part): Promise<void> => {
      const prefix = Buffer.from(this.#received(only ? part.accepted[0]?.recipient : undefined), 'latin1');
      const answers = await part.held
        .content(prefix, content, signal)
        .catch((error: unknown): readonly HeldAnswer[] =>
          part.accepted.map(() => ({
            kind: 'unanswered',
            stage: 'content',
            fault: { kind: 'io', text: error instanceof Error ? error.message : String(error) },
          })),
        );
      part.accepted.forEach(({ recipient, sentTo }, i) => {
        const answer: HeldAnswer = answers[i] ?? {
          kind: 'unanswered',
          stage: 'content',
          fault: { kind: 'closed' },
        };
        replies.set(recipient.position, finalReply(answer, recipient.shown, recipient.session));
        this.#handedOn(part, recipient, sentTo, answer, accepted);
      });
    };
    await Promise.all(parts.map(run));
    return replies;
  }

  end(): void {
    for (const part of this.#parts.values()) part.held.end();
    this.#parts.clear();
  }

  #begin(key: string, target: ProxyTarget): Part {
    const { options, pool, giveUp } = this.#shared;
    const timeoutMs = this.#timeoutMs(target);
    const part: Part = {
      target,
      held: pool.begin(
        { kind: 'tcp', host: target.host, port: target.port },
        this.#envelope,
        toldClient(this.#client, this.#parts.size + 1, timeoutMs),
        {
          helo: options.hostname,
          connectTimeoutMs: options.connectTimeoutMs ?? 30_000,
          timeoutMs,
          ...tlsFor(target, options),
        },
        giveUp.signal,
      ),
      beganAtMs: this.#nowMs(),
      accepted: [],
    };
    this.#parts.set(key, part);
    return part;
  }

  /** The host that handed the transaction to us may wait less long than the entry says. */
  #timeoutMs(target: ProxyTarget): number {
    const ownMs = target.timeoutMs ?? this.#shared.options.timeoutMs ?? 125_000;
    const theirs = this.#client.forwarded?.timeoutSeconds ?? 0;
    return theirs > 0 ? Math.min(ownMs, theirs * 1000) : ownMs;
  }

  #nowMs(): number {
    return (this.#shared.options.nowMs ?? Date.now)();
  }

  #received(only: ProxyRecipient | undefined): string {
    const { remoteAddress, lhlo, sessionId, tls, protocol } = this.#client;
    return receivedField({
      sender: this.#envelope.sender,
      lhlo,
      ...(remoteAddress === undefined ? {} : { remoteAddress }),
      ...(tls === undefined ? {} : { tls }),
      ...(protocol === undefined ? {} : { protocol }),
      hostname: this.#shared.options.hostname,
      transactionId: sessionId,
      ...(only === undefined ? {} : { onlyRecipient: only.recipient.address }),
      receivedAtMs: this.#nowMs(),
    });
  }

  #refused({ shown, session, target }: ProxyRecipient, reason: string): void {
    this.#shared.options.onEvent?.({
      kind: 'proxy-refused',
      client: clientText(this.#client),
      session,
      recipient: shown,
      host: target.host,
      port: target.port,
      reason,
    });
  }

  #handedOn(
    part: Part,
    { shown, session, position }: ProxyRecipient,
    sentTo: Address,
    answer: HeldAnswer,
    accepted: readonly number[],
  ): void {
    const sent = answer.kind === 'reply' && isPositive(answer.reply);
    this.#shared.options.onEvent?.({
      kind: 'handed-on',
      client: clientText(this.#client),
      session,
      recipient: shown,
      sentTo: formatAddress(sentTo),
      host: part.target.host,
      port: part.target.port,
      outcome: sent ? 'sent' : answer.kind === 'unanswered' ? 'lost' : 'refused',
      answer: faultText(answer),
      ordinal: accepted.indexOf(position) + 1,
      total: accepted.length,
      tookMs: this.#nowMs() - part.beganAtMs,
    });
  }
}

function clientText({ remoteAddress, remotePort = 0 }: LmtpClientFacts): string {
  if (remoteAddress === undefined) return 'local';
  return endpointKey({ kind: 'tcp', host: remoteAddress, port: remotePort });
}

function tlsFor(target: ProxyTarget, o: StoreProxyOptions): Pick<HeldOptions, 'tls'> {
  const { tls: mode, host: peerName } = target;
  if (mode === undefined) return {};
  const verify = o.verifyCertificates ?? true;
  const ca = o.trustedCertificates;
  return { tls: { mode, peerName, verify, ...(ca === undefined ? {} : { ca }) } };
}
