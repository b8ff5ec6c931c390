/** What one SMTP connection writes to the logs, besides the arrival of messages (Exim manual, "Log files"). */
import type { AclLogEntry } from '../../acl/environment.ts';
import type { AclResult } from '../../acl/result.ts';
import type { ConnectionFacts } from '../../expand/scope.ts';
import type { Address, ReversePath } from '../../mail/address.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { logText } from '../../observe/log-text.ts';
import { logTargets } from '../../observe/logs.ts';
import { clientField, clientName, type LoggedClient, rejectionLine } from '../../observe/reception-lines.ts';
import { type SessionEvent, sessionLine } from '../../observe/session-lines.ts';
import type { ClientFacts, ProtocolIncident, ResetReason, SessionEnd } from '../../smtp/server/handler.ts';
import type { Refused } from './admission.ts';
import type { EdgeParts } from './parts.ts';

/** The transaction under way, as far as lines tell of it. */
export interface LoggedTransaction {
  readonly sender: ReversePath;
  readonly recipients: readonly Address[];
  /** Once the content is on its way. */
  readonly id?: string | undefined;
}

export interface SessionLog {
  /** The client as it is known now. */
  client(): LoggedClient;
  /** `name (helo) [address]`, and the same behind `H=`. */
  name(): string;
  field(): string;
  /** @param quiet the host is in `hosts_connection_nolog` */
  opened(connections: number, quiet: boolean): void;
  turnedAway(refused: Refused): void;
  /** An ACL refused the connection at its begin, and has told of it. */
  refusedAtBegin(): void;
  /** An ACL said `drop`. */
  dropped(): void;
  readonly acl: (entry: AclLogEntry) => void;
  /** @param details lines for the reject log */
  readonly rejection: (
    what: string,
    result: Pick<AclResult, 'verdict' | 'logMessage' | 'logTargets'>,
    id?: QueueId,
    details?: readonly string[],
  ) => void;
  /** To the main log and the reject log. */
  refused(line: string): void;
  command(verb: string): void;
  reset(why: ResetReason): void;
  readonly incident: (what: ProtocolIncident) => void;
  closed(how: SessionEnd): void;
}

/** `smtp_no_mail` shows 20, and that there were more. */
const maxCommandsKept = 21;

export function createSessionLog(
  { logs, logItems }: EdgeParts,
  facts: ClientFacts,
  connection: ConnectionFacts,
  transaction: () => LoggedTransaction | undefined,
): SessionLog {
  const startedAtMs = performance.now();
  const durationMs = (): number => performance.now() - startedAtMs;
  /** Verbs that came, the last ones; none once MAIL has come. */
  let commands: string[] | undefined = [];
  let quiet = false;
  let dropped = false;
  /** Turned away at its begin, which has a log line of its own. */
  let turnedAway = false;
  /** The client went away in the middle of a transaction. */
  let lostTransaction = false;

  const client = (): LoggedClient => ({
    hostAddress: facts.remoteAddress,
    hostPort: facts.remotePort,
    hostName: connection.hostName,
    helo: connection.helo,
    interfaceAddress: facts.localAddress,
    interfacePort: facts.localPort,
  });
  const field = (): string => clientField(client(), logItems);

  function tell(event: SessionEvent): void {
    const line = sessionLine(client(), event, logItems);
    for (const log of logTargets(line?.logs ?? [])) if (line !== undefined) logs[log](line.text);
  }

  return {
    client,
    field,
    name: () => clientName(client(), logItems),

    opened(connections, isQuiet) {
      quiet = isQuiet;
      if (!quiet) tell({ kind: 'opened', connections });
    },

    turnedAway({ line, rejected }) {
      turnedAway = true;
      if (logItems.has('connection_reject')) logs.main(line);
      if (rejected === true) logs.reject(line);
    },

    refusedAtBegin() {
      turnedAway = true;
    },

    dropped() {
      dropped = true;
    },

    acl(entry) {
      const id = transaction()?.id;
      const text = entry.withHost ? `${field()} ${logText(entry.text)}` : logText(entry.text);
      const line = id === undefined ? text : `${id} ${text}`;
      // A selection is about the main log.
      const unselected = entry.item !== undefined && !logItems.has(entry.item);
      for (const target of logTargets(entry.logs)) if (target !== 'main' || !unselected) logs[target](line);
    },

    rejection(what, result, id, details) {
      const line = rejectionLine(
        {
          id,
          client: client(),
          sender: transaction()?.sender,
          temporary: result.verdict === 'defer',
          what,
          reason: result.logMessage ?? '',
        },
        logItems,
      );
      for (const target of logTargets(result.logTargets))
        logs[target](line, target === 'reject' ? details : undefined);
    },

    refused(line) {
      logs.main(line);
      logs.reject(line);
    },

    command(verb) {
      if (verb === 'MAIL') commands = undefined;
      if (commands === undefined || verb === '') return;
      commands.push(verb);
      if (commands.length > maxCommandsKept) commands.shift();
    },

    reset(why) {
      const open = transaction();
      if (open !== undefined && why !== 'closed') tell({ kind: 'incomplete', what: why, ...open });
    },

    incident(what) {
      switch (what.kind) {
        case 'syntax':
        case 'protocol':
        case 'synchronization':
          return tell(what);
        case 'limit':
          return tell({ kind: what.closing ? 'dropped' : 'limited', reason: what.reason });
        case 'size':
          return tell({ ...what, kind: 'too-big' });
        case 'lost':
          // In the middle of a transaction it is told after that; before one, it is how the connection ended.
          if (what.during === 'command') {
            lostTransaction = transaction() !== undefined;
            return;
          }
          return tell({ ...what, sender: transaction()?.sender, durationMs: durationMs() });
        case 'timeout':
          return tell({ ...what, sender: transaction()?.sender, durationMs: durationMs() });
        default:
          return assertNever(what);
      }
    },

    closed(how) {
      if (lostTransaction)
        tell({ kind: 'lost', during: 'command', sender: undefined, durationMs: durationMs() });
      else if (!quiet && (how === 'QUIT' || how === 'lost' || dropped))
        tell({ kind: 'closed', how: how === 'timeout' ? 'dropped' : how, durationMs: durationMs() });
      if (commands !== undefined && !turnedAway)
        tell({ kind: 'no-mail', durationMs: durationMs(), commands });
    },
  };
}
