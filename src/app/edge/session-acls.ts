/** The ACLs of one SMTP connection: how they are run, and what stays of what they said (Exim manual, "Access control lists"). */
import type { AclControls } from '../../acl/control.ts';
import { type AclEnvironment, newAclMemory } from '../../acl/environment.ts';
import { type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import { runAcl } from '../../acl/run.ts';
import type { AclPhase } from '../../acl/tables.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { NotQuitReason, Verdict } from '../../smtp/server/handler.ts';
import type { EdgeParts } from './parts.ts';
import type { SessionLog } from './session-log.ts';
import type { Transaction } from './transaction.ts';

/** What ACLs may look at, and what they change; read when it is needed. */
interface JudgedSession extends Pick<AclEnvironment, 'verifier' | 'signal'> {
  readonly client: NonNullable<AclEnvironment['client']>;
  transaction(): Pick<Transaction, 'memory' | 'headerEdits' | 'controls'> | undefined;
  scope(): ExpandScope;
  readonly log: Pick<SessionLog, 'acl' | 'rejection' | 'dropped'>;
  /** Told after {@link SessionAcls.lasting} may give something else. */
  changed(): void;
}

/** What ACLs asked for that lasts as long as the connection (Exim manual, "Use of the control modifier"). */
type LastingControls = Pick<AclControls, 'enforceSync' | 'noPipelining' | 'noMultilineResponses'>;

export interface SessionAcls {
  /** Runs the ACL of a phase; undefined where the option is not set. */
  readonly check: (
    phase: AclPhase,
    acl: string | undefined,
    scope: ExpandScope,
  ) => Promise<AclResult> | AclResult | undefined;
  /** Keeps what an ACL asked for; a refusal is logged and becomes the verdict. */
  readonly judge: (phase: AclPhase, result: AclResult | undefined, what: string) => Verdict | undefined;
  /** Runs the ACL for a session that ends without QUIT; gives what it would have the client told. */
  notQuit(reason: NotQuitReason, acl: string): Promise<string | undefined>;
  lasting(): LastingControls;
  /** An ACL said `drop`. */
  dropped(): boolean;
}

/** Longest time that the ACL for sessions without QUIT may take. */
const notQuitMs = 60_000;

export function createSessionAcls(parts: EdgeParts, session: JudgedSession): SessionAcls {
  const { log } = session;
  const connectionMemory = newAclMemory();
  let lasting: LastingControls = {};
  let dropped = false;

  function check(
    phase: AclPhase,
    acl: string | undefined,
    scope: ExpandScope,
    until = session.signal,
  ): Promise<AclResult> | AclResult | undefined {
    if (acl === undefined) return undefined;
    return runAcl(acl, {
      acls: parts.acls,
      lists: parts.lists,
      scope,
      phase,
      verifier: session.verifier,
      client: session.client,
      log: log.acl,
      signal: until,
      memory: session.transaction()?.memory ?? connectionMemory,
    });
  }

  async function notQuit(reason: NotQuitReason, acl: string): Promise<string | undefined> {
    const extra = new Map([['smtp_notquit_reason', { text: reason, tainted: false }]]);
    const result = await check('notquit', acl, { ...session.scope(), extra }, AbortSignal.timeout(notQuitMs));
    return result?.userMessage;
  }

  function judge(phase: AclPhase, result: AclResult | undefined, what: string): Verdict | undefined {
    if (result === undefined) return undefined;
    lasting = { ...lasting, ...result.controls };
    session.changed();
    const transaction = session.transaction();
    if (transaction !== undefined) {
      transaction.headerEdits = mergeHeaderEdits(transaction.headerEdits, result.headerEdits);
      transaction.controls = { ...transaction.controls, ...result.controls };
    }
    switch (result.verdict) {
      case 'accept':
      case 'discard':
        return undefined;
      case 'deny':
      case 'defer':
      case 'drop':
        if (result.verdict === 'drop') {
          log.dropped();
          dropped = true;
        }
        log.rejection(what, result);
        return {
          reply: refusal(result, phase, lasting.noMultilineResponses),
          close: result.verdict === 'drop',
        };
      default:
        return assertNever(result.verdict);
    }
  }

  return { check, judge, notQuit, lasting: () => lasting, dropped: () => dropped };
}
