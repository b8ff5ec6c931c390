import type { QueueId } from '../../../mail/message-id.ts';
import type { BodyFiles } from './body-files.ts';
import type { SpoolDatabases } from './environment.ts';
import type { GroupCommit } from './group-commit.ts';
import type { Owners } from './owners.ts';
import type { SpaceGuard } from './space.ts';

/** What the parts of an open spool share. */
export interface SpoolContext {
  readonly databases: SpoolDatabases;
  readonly owners: Owners;
  readonly bodies: BodyFiles;
  readonly group: GroupCommit;
  readonly space: SpaceGuard;
  readonly inlineLimitBytes: number;
  readonly newId: () => QueueId;
  /** Told of each entry that cannot be read, each time it is met. */
  readonly onCorrupt: (id: QueueId, error: Error) => void;
  /** Files being written, to be removed when the spool closes. */
  readonly unfinished: Set<{ discard(): Promise<void> }>;
  closed: boolean;
}
