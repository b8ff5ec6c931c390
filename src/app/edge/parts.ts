/** What all SMTP sessions share. */
import type { Acl } from '../../acl/ast.ts';
import type { ConfigModel } from '../../config/model.ts';
import type { ExpandServices, MainFacts } from '../../expand/scope.ts';
import type { Lists } from '../../list/match.ts';
import type { LogItems } from '../../observe/log-items.ts';
import type { Logs } from '../../observe/logs.ts';
import type { ConfiguredTransport } from '../../queue/context.ts';
import type { DirectDelivery } from '../../queue/direct.ts';
import type { FreezeTell } from '../../queue/freeze-tell.ts';
import type { QueueRunner } from '../../queue/runner.ts';
import type { HostFact } from '../../list/model.ts';
import type { ConfiguredRouter } from '../../router/options.ts';
import type { Spool } from '../../spool/spool.ts';
import type { CalloutCache } from '../../verify/cache.ts';
import type { SpaceCheck } from './space.ts';
import type { Streaming } from './streaming.ts';
import type { RouteEnvironment } from '../../router/environment.ts';
import type { RewriteRule } from '../../rewrite/rules.ts';
import type { SlowDown } from '../../config/slow-down.ts';
import type { Callouts } from '../../verify/callout.ts';

export interface EdgeParts {
  readonly options: ConfigModel['main'];
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly lists: Lists;
  readonly acls: ReadonlyMap<string, Acl>;
  readonly rewriteRules: readonly RewriteRule[];
  readonly rewriteChild: RouteEnvironment['rewriteChild'];
  readonly routers: readonly ConfiguredRouter[];
  readonly transports: ReadonlyMap<string, ConfiguredTransport>;
  readonly callouts: Callouts;
  readonly calloutCache: CalloutCache;
  /** Tells once for each transport that callouts find nobody to ask there. */
  readonly unasked: (transport: string, reason: string) => void;
  readonly spool: Spool;
  /** See DeliveryContext. */
  readonly instance: string;
  readonly queue: QueueRunner;
  /** Delivery before the spool. */
  readonly direct: DirectDelivery;
  /** When it may begin before the content is whole. */
  readonly streaming: Streaming;
  readonly logs: Logs;
  /** What `log_selector` selects. */
  readonly logItems: LogItems;
  /** `received_header_text`, where the file sets it. */
  readonly receivedHeaderText: string | undefined;
  /** Where mail and logs are kept. */
  readonly space: readonly SpaceCheck[];
  readonly freezeTell: FreezeTell | undefined;
  readonly slowMail: SlowDown | undefined;
  readonly slowRcpt: SlowDown | undefined;
  /** `queue_only_file`: a file is there that makes mail wait for a queue run. */
  readonly queueOnlyFile: () => boolean;
  /** Names of a client that lead back to its address. */
  readonly clientNames: (address: string) => Promise<HostFact>;
  /** Addresses of a name, as the system resolves it. */
  readonly addressesOf: (name: string) => Promise<HostFact>;
  /** What `queue_only` waits for at the most: the interval of queue runs. */
  readonly queueIntervalMs: number;
  readonly leaseMs: number;
}
