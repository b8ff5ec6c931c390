/** What happens in the queue, with every fact a log line needs. Events come after the outcome is recorded, never before. */
import type { Address, ReversePath } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { PeerLink, Status } from '../mail/outcome.ts';
import type { Reply } from '../mail/reply.ts';
import type { RouteHost } from '../mail/route-host.ts';

/** The recipient an event is about. */
export interface EventRecipient {
  /** Position in the envelope, from 0. */
  readonly position: number;
  /** As delivered: affixes kept, after rerouting. */
  readonly address: Address;
  /** As it stands in the envelope, where that is another address. */
  readonly original?: Address;
  /** What stands between the address and the original one, nearest first. */
  readonly parents?: readonly Address[];
  /** The file, directory or command that takes the place of the address; `address` is the one redirected to it. */
  readonly target?: string;
  /** `hide_child_in_errmsg`: a bounce tells only of the original. */
  readonly hidden?: true;
  /** Absent where no router took it. */
  readonly router?: string;
  /** Absent where it was not routed. */
  readonly transport?: string;
  /** Exim's local style: `=> local <local@domain>` in place of `=> local@domain`. */
  readonly logAsLocal: boolean;
}

interface EventBase {
  readonly id: QueueId;
  readonly atMs: number;
}

export type DeliveryEvent =
  /** `=>`, `->` where `first` is false, and `>>` where it is direct. */
  | (EventBase & {
      readonly kind: 'delivered';
      readonly recipient: EventRecipient;
      /** False for the second and later recipients of one transaction. */
      readonly first: boolean;
      /** While its sender waited for the reply, without the spool. */
      readonly direct?: true;
      /** For a local transport only the name that its router gave, as Exim logs it; eximstats counts by it. */
      readonly host?: RouteHost;
      readonly link?: PeerLink;
      /** The peer's last word, for `C="..."`. */
      readonly reply?: Reply;
      /** The reverse path used. */
      readonly sender: ReversePath;
      readonly size: number;
      /** Since the message arrived, for `QT=`. */
      readonly queuedMs: number;
      /** What the transport took, for `DT=`. */
      readonly deliveryMs: number;
    })
  /** `**` */
  | (EventBase & {
      readonly kind: 'failed';
      readonly recipient: EventRecipient;
      readonly status: Status;
      /** A temporary error that lasted beyond the last cutoff; Exim adds `retry timeout exceeded`. */
      readonly timedOut: boolean;
      readonly sender: ReversePath;
      readonly queuedMs: number;
    })
  /** `==` */
  | (EventBase & {
      readonly kind: 'deferred';
      readonly recipient: EventRecipient;
      readonly status: Status;
      /** What Exim prints in `defer (N)`: a system error number, or one of Exim's own below zero; -1 for none. */
      readonly errno: number;
      /** The host was not tried, since its retry time has not come: logged because of `retry_defer`, which is on by default. */
      readonly skipped: boolean;
      /** `routing defer` in the log. */
      readonly routing?: true;
      readonly nextAttemptAtMs: number;
    })
  /** `=> :blackhole:` and the like: a router discarded it. */
  | (EventBase & {
      readonly kind: 'discarded';
      readonly recipient: EventRecipient;
      readonly sender: ReversePath;
      /** `/dev/null`, where the delivery to it was left out. */
      readonly bypassed?: string;
    })
  /** A failure that is reported to nobody. */
  | (EventBase & {
      readonly kind: 'error-ignored';
      readonly recipient: EventRecipient;
      readonly reason: 'errors_to is empty' | 'NOTIFY' | 'bounce is too old';
    })
  /** A message made here, now in the queue: the `<=` line of a bounce with `R=cause`. `id` is the new message's. */
  | (EventBase & {
      readonly kind: 'bounced';
      readonly cause: QueueId;
      readonly to: readonly Address[];
      /** Its Message-ID, without angle brackets. */
      readonly messageId: string;
      readonly size: number;
    })
  /** `Frozen`, with the reason in Exim's words where it has some. */
  | (EventBase & { readonly kind: 'frozen'; readonly reason: string })
  /** Every recipient is done, and the message is gone. */
  | (EventBase & { readonly kind: 'completed'; readonly queuedMs: number })
  /** Somebody else took the message over; what was done about these recipients may be done again. */
  | (EventBase & { readonly kind: 'lease-lost'; readonly delivered: number })
  /** An outcome could not be stored; it is tried again. */
  | (EventBase & { readonly kind: 'record-failed'; readonly reason: string; readonly attempt: number })
  /** What a router skipped: addresses of a list that are malformed. */
  | (EventBase & { readonly kind: 'note'; readonly text: string })
  /** Something that should not be: a transport that throws, a configuration that does not work. `id` is absent where no message is concerned. */
  | { readonly kind: 'problem'; readonly id?: QueueId; readonly atMs: number; readonly text: string };

export type EmitEvent = (event: DeliveryEvent) => void;
