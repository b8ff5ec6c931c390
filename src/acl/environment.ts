/** What an ACL runs in. */
import type { ExpandScope } from '../expand/scope.ts';
import type { Lists } from '../list/match.ts';
import type { HostFact } from '../list/model.ts';
import type { Verifier, VerifyResult, VerifyStage } from '../verify/verifier.ts';
import type { Acl } from './ast.ts';
import type { LogName } from './result.ts';
import type { AclPhase } from './tables.ts';

/** Something an ACL wants logged at once. */
export interface AclLogEntry {
  readonly text: string;
  readonly logs: readonly LogName[];
  /** Exim puts the host (`H=name [address]`) in front. */
  readonly withHost: boolean;
  /** The item of `log_selector` that it belongs to; absent where it is always logged. */
  readonly item?: 'acl_warn_skipped' | 'sender_verify_fail';
}

/** What ACLs remember while one message comes in; a new one for every MAIL. */
export interface AclMemory {
  /** Lines that `warn` has logged already. */
  readonly warned: Set<string>;
  /** Results of sender verification by address and options. */
  readonly senders: Map<string, VerifyResult>;
  senderFailure?: SenderFailure | undefined;
}

/** The sender that did not verify last. Why goes to the client and to the log with the first refusal after it. */
export interface SenderFailure {
  readonly address: string;
  readonly kind: 'fail' | 'defer';
  readonly message: string;
  readonly logReason: string;
  readonly stage: VerifyStage;
  told: boolean;
}

/** Entries of each kind that a message's memory keeps at most; it then starts anew. */
export const maxRemembered = 1000;

export function newAclMemory(): AclMemory {
  return { warned: new Set(), senders: new Map() };
}

/** The client's names. */
export interface ClientNames {
  /** Those that lead back to its address. */
  names(): Promise<HostFact>;
  /** Is this name in HELO the client's own (Exim manual, "helo_verify_hosts")? */
  isNamed(helo: string): Promise<boolean>;
}

export interface AclEnvironment {
  readonly acls: ReadonlyMap<string, Acl>;
  readonly lists: Lists;
  /** `address` is set in the phases `rcpt` and `vrfy`; `domains` and the like put their data there. */
  readonly scope: ExpandScope;
  readonly phase: AclPhase;
  readonly verifier: Verifier;
  /** Who speaks to us, by the DNS; absent where nobody does. */
  readonly client?: ClientNames;
  readonly log: (entry: AclLogEntry) => void;
  readonly signal: AbortSignal;
  readonly memory: AclMemory;
}
