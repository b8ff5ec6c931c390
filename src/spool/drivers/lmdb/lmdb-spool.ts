import { MailError } from '../../../mail/mail-error.ts';
import { queueIdGenerator, type QueueId } from '../../../mail/message-id.ts';
import type { Spool, SpoolEntry, SpoolQuery } from '../../spool.ts';
import { openBodyFiles } from './body-files.ts';
import { claimDue, nextDue, reap } from './claim.ts';
import type { SpoolContext } from './context.ts';
import { bucketStart } from './due-index.ts';
import { openEnvironment, refresh } from './environment.ts';
import { groupCommit } from './group-commit.ts';
import { registerOwner } from './owners.ts';
import { ownIdentity } from './process-identity.ts';
import { recordOutcomes, renewLease } from './record.ts';
import { loadEntry, readHead } from './rows.ts';
import { spaceGuard } from './space.ts';
import { createWriter } from './writer.ts';

export interface LmdbSpoolOptions {
  /** Made where it does not exist. Holds `db/` (lmdb) and `body/` (large contents). */
  readonly directory: string;
  /** Free space of the file system below which no message is taken; 10 MiB, as Exim's check_spool_space. */
  readonly minFreeBytes?: number;
  /** Most octets of pages in use in the databases (content files not counted); unbounded. */
  readonly maxDatabaseBytes?: number;
  /** Content up to this length lives in the database; 128 KiB. */
  readonly inlineLimitBytes?: number;
  /** Told of each entry that cannot be read, each time it is met. It is kept, and the others go on. */
  readonly onCorrupt?: (id: QueueId, error: Error) => void;
}

/**
 * Opens a spool in lmdb. Several processes may have the same directory open at once; each message is claimed by one of
 * them, and what a process held is free again as soon as it is gone. Throws MailError('CORRUPT') for a directory of
 * another layout version, MailError('IO') where it cannot be opened or written.
 */
export function openLmdbSpool(options: LmdbSpoolOptions): Spool {
  try {
    return openSpool(options);
  } catch (cause) {
    if (cause instanceof MailError) throw cause;
    throw new MailError('IO', `cannot open the spool ${options.directory}: ${String(cause)}`, { cause });
  }
}

function openSpool(options: LmdbSpoolOptions): Spool {
  const { directory } = options;
  const identity = ownIdentity();
  const databases = openEnvironment(directory);
  const owners = registerOwner(databases, identity);
  const space = spaceGuard(
    {
      directory,
      minFreeBytes: options.minFreeBytes ?? 10 * 2 ** 20,
      maxDatabaseBytes: options.maxDatabaseBytes ?? Infinity,
    },
    databases,
  );
  const context: SpoolContext = {
    databases,
    owners,
    bodies: openBodyFiles(directory),
    group: groupCommit(databases, space),
    space,
    inlineLimitBytes: options.inlineLimitBytes ?? 128 * 1024,
    newId: queueIdGenerator(identity.pid, Date.now, owners.self),
    onCorrupt: options.onCorrupt ?? (() => undefined),
    unfinished: new Set(),
    closed: false,
  };
  forgetTheDead(context);
  removeOrphans(context);
  return spoolOver(context);
}

function spoolOver(context: SpoolContext): Spool {
  let busy = 0;
  let onQuiet: (() => void)[] = [];
  /** Counts what `close` has to wait for. */
  const tracked = async <T>(work: () => Promise<T>): Promise<T> => {
    if (context.closed) throw new MailError('CLOSED', 'the spool is closed');
    busy++;
    try {
      return await work();
    } finally {
      busy--;
      if (busy === 0) {
        for (const resolve of onQuiet) resolve();
        onQuiet = [];
      }
    }
  };

  return {
    newId: context.newId,
    create: async (signal, id) => {
      const writer = createWriter(context, signal, id);
      return {
        ...writer,
        commit: (submission, after, nowMs, states) =>
          tracked(() => writer.commit(submission, after, nowMs, states)),
      };
    },
    claim: (options) => tracked(() => claimDue(context, options)),
    renew: (claim, leaseMs, nowMs) => tracked(() => renewLease(context, claim, leaseMs, nowMs)),
    record: (claim, update) => tracked(() => recordOutcomes(context, claim, update)),
    inspect: (query) => inspectEntries(context, query),
    nextDueAtMs: () => {
      if (context.closed) throw new MailError('CLOSED', 'the spool is closed');
      return nextDue(context);
    },
    close: async () => {
      if (context.closed) return;
      context.closed = true;
      if (busy > 0) await new Promise<void>((resolve) => onQuiet.push(resolve));
      await Promise.all([...context.unfinished].map((file) => file.discard().catch(() => undefined)));
      await context.group.idle();
      // Without its row, what this opening still holds is void.
      await context.group.run('required', 0, () => context.owners.remove(context.owners.self));
      await context.databases.root.close();
    },
  };
}

/** Frees what processes that are gone held, and forgets them. */
function forgetTheDead(context: SpoolContext): void {
  const { databases, owners } = context;
  const dead = owners.voidOwners();
  if (dead.length === 0) return;
  databases.root.transactionSync(() => {
    reap(context, 0);
    for (const owner of dead) {
      const [key] = databases.due.getKeys({
        start: bucketStart(owner),
        end: bucketStart(owner + 1),
        limit: 1,
      });
      if (key === undefined) owners.remove(owner);
    }
  });
}

/** Removes content files that no entry refers to and whose maker can no longer commit one. */
function removeOrphans(context: SpoolContext): void {
  context.bodies.removeOrphans((id, owner) => {
    // The maker was registered before the file was made, so a snapshot of now shows it, if it is not gone.
    refresh(context.databases);
    if (!context.owners.isVoid(owner)) return false;
    // And one taken after it is known to be gone shows its last commit.
    refresh(context.databases);
    try {
      return readHead(context.databases, id)?.bodyOwner !== owner;
    } catch {
      return false;
    }
  });
}

/** Keys in batches, so that no snapshot is held (and no page kept from reuse) while the reader takes its time. */
async function* inspectEntries(context: SpoolContext, query: SpoolQuery): AsyncIterable<SpoolEntry> {
  const batch = 64;
  let after = '';
  for (;;) {
    if (context.closed) throw new MailError('CLOSED', 'the spool is closed');
    refresh(context.databases);
    const ids =
      query.id === undefined
        ? [
            ...context.databases.message.getKeys({
              limit: batch,
              ...(after !== '' && { start: after, exclusiveStart: true }),
            }),
          ]
        : [query.id];
    for (const key of ids) {
      if (context.closed) throw new MailError('CLOSED', 'the spool is closed');
      const id = key as QueueId;
      const entry = entryOf(context, id);
      if (entry === undefined) continue;
      if (query.frozen === undefined || query.frozen === (entry.frozenAtMs !== undefined)) yield entry;
    }
    after = ids.at(-1) ?? '';
    if (query.id !== undefined || ids.length < batch) return;
  }
}

function entryOf(context: SpoolContext, id: QueueId): SpoolEntry | undefined {
  try {
    return loadEntry(context.databases, id)?.entry;
  } catch (error) {
    context.onCorrupt(id, error instanceof Error ? error : new Error(String(error)));
    return undefined;
  }
}
