/**
 * The process that does one job as another user: order and message come on standard input, the outcome goes to standard
 * output (docs/decisions/0012). It gives up its rights before it looks at anything.
 */
import { become, type Identity } from './identity.ts';
import { prepareLocks } from '../../../net/file-lock.ts';
import { readFrames } from './frames.ts';
import { type Job, runJob } from './job.ts';
import type { JobOutcome } from './outcome.ts';
import { errorText } from '../../../mail/error-text.ts';

export interface Order {
  /** Absent: stay who we are. */
  readonly identity?: Identity;
  readonly job: Job;
}

async function main(): Promise<JobOutcome> {
  const frames = readFrames(process.stdin);
  const first = await frames.next();
  if (first.done === true) return { kind: 'deferred', text: 'there is no order' };
  const order = JSON.parse(first.value.toString('utf8')) as Order;
  const { job } = order;
  if (job.kind === 'mailbox' && (job.useFcntl || job.useFlock)) prepareLocks();
  if (order.identity !== undefined) become(order.identity);
  // Modes are set in so many words.
  process.umask(0o077);
  return runJob(job, frames);
}

process.on('SIGINT', () => undefined);
try {
  process.stdout.write(`${JSON.stringify(await main())}\n`);
} catch (error) {
  const text = errorText(error);
  process.stdout.write(`${JSON.stringify({ kind: 'deferred', text } satisfies JobOutcome)}\n`);
}
// What is left of standard input concerns nobody.
process.stdin.destroy();
