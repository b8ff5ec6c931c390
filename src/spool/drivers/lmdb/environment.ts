import fs from 'node:fs';
import path from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { MailError } from '../../../mail/mail-error.ts';

/** Layout of the databases below; a spool with another number is refused. */
const layoutVersion = '1';

/** The named databases of a spool. Values are octets, encoded by `encoding.ts`. */
export interface SpoolDatabases {
  readonly root: RootDatabase<Buffer, string>;
  /** By queue id: what is fixed at acceptance, with the content up to the inline limit. */
  readonly message: Database<Buffer, string>;
  /** By queue id: token, lease, recipients' states. */
  readonly state: Database<Buffer, string>;
  /** The index of `due-index.ts`; the value is the time the message is due. */
  readonly due: Database<Buffer, Buffer>;
  /** By owner number: the process that may hold leases. */
  readonly owner: Database<Buffer, string>;
  /** `layout`, and `owners`, the count of owners there ever were. */
  readonly meta: Database<Buffer, string>;
}

/**
 * Opens (or makes) the lmdb environment.
 *
 * What strace shows of lmdb-js 3.5.6 with `overlappingSync: false`, on every transaction: pwrite64 of the pages,
 * fdatasync of data.mdb, pwrite64 of the meta page through a descriptor opened with O_DSYNC, and only after that the
 * promise resolves. With the default (`overlappingSync: true`) the meta page is written and the promise resolves before
 * the fdatasync, so a 250 could precede the disk.
 *
 * `eventTurnBatching: false`, because with it lmdb-js makes one promise a turn that nobody can reach, and a failed
 * transaction (disk full) rejects it: an unhandled rejection that ends the process. `group-commit.ts` does the batching.
 *
 * lmdb-js enlarges its map by itself, also where another process made the data grow, so MDB_MAP_FULL never comes;
 * `space.ts` sets the bound instead. The initial size only spares remapping.
 */
export function openEnvironment(directory: string): SpoolDatabases {
  const databaseDirectory = path.join(directory, 'db');
  fs.mkdirSync(databaseDirectory, { recursive: true, mode: 0o750 });
  const root = open<Buffer, string>({
    path: databaseDirectory,
    noSubdir: false,
    overlappingSync: false,
    eventTurnBatching: false,
    encoding: 'binary',
    mapSize: 2 ** 30,
    maxDbs: 8,
    maxReaders: 512,
  });
  // lmdb syncs its file, not the directory entries that lead to it.
  for (const made of [databaseDirectory, directory, path.dirname(path.resolve(directory))])
    syncDirectory(made);
  const byId = { encoding: 'binary' } as const;
  const databases: SpoolDatabases = {
    root,
    message: root.openDB('message', byId),
    state: root.openDB('state', byId),
    due: root.openDB<Buffer, Buffer>('due', { encoding: 'binary', keyEncoding: 'binary' }),
    owner: root.openDB('owner', byId),
    meta: root.openDB('meta', byId),
  };
  const layout = databases.meta.getBinary('layout')?.toString('latin1');
  if (layout === undefined) databases.meta.putSync('layout', Buffer.from(layoutVersion, 'latin1'));
  else if (layout !== layoutVersion) {
    void root.close();
    throw new MailError(
      'CORRUPT',
      `spool ${directory} has layout version ${layout}; this program reads version ${layoutVersion} only`,
    );
  }
  return databases;
}

/** Makes directory entries durable; blocks, for use when a spool is opened. */
export function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Lets go of the snapshot that lmdb-js keeps for reading within a turn, so that other processes' commits are seen. */
export function refresh(databases: SpoolDatabases): void {
  databases.root.resetReadTxn();
}
