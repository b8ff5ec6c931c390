/** What all SMTP sessions share. */
import type { Acl } from '../../acl/ast.ts';
import type { ConfigModel } from '../../config/model.ts';
import type { ExpandServices, MainFacts } from '../../expand/scope.ts';
import type { Lists } from '../../list/match.ts';
import type { Logs } from '../../observe/logs.ts';
import type { ConfiguredTransport } from '../../queue/context.ts';
import type { QueueRunner } from '../../queue/runner.ts';
import type { ConfiguredRouter } from '../../router/options.ts';
import type { Spool } from '../../spool/spool.ts';
import type { CalloutCache } from '../../verify/cache.ts';
import type { Callouts } from '../../verify/callout.ts';

export interface EdgeParts {
  readonly options: ConfigModel['main'];
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly lists: Lists;
  readonly acls: ReadonlyMap<string, Acl>;
  readonly routers: readonly ConfiguredRouter[];
  readonly transports: ReadonlyMap<string, ConfiguredTransport>;
  readonly callouts: Callouts;
  readonly calloutCache: CalloutCache;
  readonly spool: Spool;
  readonly queue: QueueRunner;
  readonly logs: Logs;
  /** What `queue_only` waits for at the most: the interval of queue runs. */
  readonly queueIntervalMs: number;
  readonly leaseMs: number;
}
