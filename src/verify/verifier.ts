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
  /** The reverse path to give; null for `<>`. */
  readonly sender: ReversePath;
  /** What the client says the message will have, octets: for servers with quotas. */
  readonly sizeOctets?: number;
}

export interface VerifyRequest {
  readonly address: Address;
  /** Absent: route only. */
  readonly callout?: CalloutOptions;
}

export type VerifyResult =
  | { readonly kind: 'ok'; readonly via: 'route' | 'callout' | 'cache'; readonly addressData?: string }
  | {
      readonly kind: 'fail' | 'defer';
      readonly stage: 'route' | 'connect' | 'mail' | 'rcpt';
      /** What a client may be told when the ACL says nothing else: never details of our own machines. */
      readonly reply: Reply;
      /** For the log. */
      readonly logReason: string;
      /** Nobody can be asked there: not a matter of trying again. */
      readonly impossible?: true;
    };

export interface Verifier {
  /** Never throws for a fault of the peer: that is `defer`. */
  verifyRecipient(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult>;
  verifySender(request: VerifyRequest, signal: AbortSignal): Promise<VerifyResult>;
}

export interface ForeseeingVerifier extends Verifier {
  /** Recipients that are likely to be verified in a moment with the same callout: their servers are asked now. */
  foresee(addresses: readonly Address[], callout: CalloutOptions, signal: AbortSignal): void;
}
