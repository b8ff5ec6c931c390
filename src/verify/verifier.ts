/** What the ACL condition `verify` asks for and gets back (Exim manual, "Address verification"). */
import type { Address, ReversePath } from '../mail/address.ts';
import type { Reply } from '../mail/reply.ts';

/** Options of `/callout=...` (Exim manual, "Additional parameters for callouts"). */
export interface CalloutOptions {
  /** Limit of one command's wait. */
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Limit of the whole callout. */
  readonly maxWaitMs: number;
  /** `defer_ok`: a temporary failure counts as success. */
  readonly deferOk: boolean;
  readonly noCache: boolean;
  /** First asks about a local part that nobody has: a server that takes it takes everybody (`random`). */
  readonly random?: boolean;
  /** Also asks about postmaster at the domain (`postmaster`), with this reverse path; `full`: or about postmaster without a domain. */
  readonly postmaster?: { readonly sender: ReversePath; readonly full: boolean };
  /** The reverse path to give; null for `<>`. */
  readonly sender: ReversePath;
  /** What the client says the message will have, octets: for servers with quotas. */
  readonly sizeOctets?: number;
}

export interface VerifyRequest {
  readonly address: Address;
  /** Absent: route only. */
  readonly callout?: CalloutOptions;
  /** Whether its mailbox takes a message of that size; answers are kept so long. */
  readonly quota?: { readonly positiveMs: number; readonly negativeMs: number; readonly sizeOctets?: number };
  /** `success_on_redirect`: whatever a redirection makes of it, it is good. */
  readonly successOnRedirect?: boolean;
  /** The message is to be delivered while its sender waits: the callout may be the beginning of its transaction. */
  readonly direct?: boolean;
}

export type VerifyResult = (
  | {
      readonly kind: 'ok';
      readonly via: 'route' | 'callout' | 'cache';
      /** The server takes any local part. */
      readonly random?: true;
      /** What the server was asked about and knows, without affixes and in the router's letters. */
      readonly known?: { readonly local: string; readonly domain: string };
      /** Nobody knows: `defer_ok` of the callout made it good, which failed temporarily there. */
      readonly forgiven?: VerifyStage;
    }
  | {
      readonly kind: 'fail' | 'defer';
      readonly stage: VerifyStage;
      /** What a client may be told when the ACL says nothing else: never details of our own machines. */
      readonly reply: Reply;
      /** For the log. */
      readonly logReason: string;
      /** Nobody can be asked there: not a matter of trying again. */
      readonly impossible?: true;
    }
) & {
  /** `$address_data` of the routers, whatever came of it. */
  readonly addressData?: string;
};

export type VerifyStage = 'route' | 'connect' | 'mail' | 'rcpt' | 'postmaster' | 'quota';

export interface Verifier {
  /** Never throws for a fault of the peer: that is `defer`. */
  verifyRecipient(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult>;
  verifySender(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult>;
}

export interface ForeseeingVerifier extends Verifier {
  /**
   * Recipients that are likely to be verified in a moment with the same callout: their servers are asked now.
   *
   * @param direct see {@link VerifyRequest}
   */
  foresee(addresses: readonly Address[], callout: CalloutOptions, direct: boolean, signal: AbortSignal): void;
}
