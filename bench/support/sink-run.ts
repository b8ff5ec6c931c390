// The LMTP sink as a process of its own.
import path from 'node:path';
import { start } from '../../test/support/process.ts';
import { jsonLine, type SinkReport } from './bench.ts';

/** Starts it; resolves when it listens, and the gotten function when it has taken so many messages of one recipient. */
export async function startSink(listen: string, messages: number): Promise<() => Promise<SinkReport>> {
  const words = ['--listen', listen, '--rcpts', String(messages), '--timeout', '280'];
  const sink = start(process.execPath, [path.join(import.meta.dirname, '../sink.ts'), ...words]);
  await sink.printed(/ready/);
  return async () => {
    await sink.ended;
    const got = jsonLine(sink.output()) as SinkReport;
    if (got.recipients !== messages) throw new Error(`the sink got ${got.recipients} of ${messages}`);
    return got;
  };
}
