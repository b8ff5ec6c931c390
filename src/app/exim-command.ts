/** What `bin/exim` does. Each mode loads only what it needs, since people wait for the answer. */
import { existsSync } from 'node:fs';
import { type EximArguments, parseEximArguments } from '../cli/exim-arguments.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';
import { startInBackground } from './background.ts';

/** Where the configuration is when -C does not say. */
export const defaultConfigFile = '/etc/mailchute/mailchute.conf';

export async function runExim(words: readonly string[]): Promise<number> {
  const parsed = parseEximArguments(words, parseTimeInterval);
  if (parsed.kind === 'usage') {
    console.error(`exim: ${parsed.text}`);
    return 1;
  }
  const { arguments: a } = parsed;
  switch (a.mode) {
    case 'version':
      return printVersion(a);
    case 'daemon':
      if (!a.foreground) return startInBackground('exim', words);
      return runDaemon(a);
    case 'queue-run':
      return runQueueOnce(a);
  }
}

async function printVersion(a: EximArguments): Promise<number> {
  const { versionText } = await import('./version-text.ts');
  console.log(versionText());
  const file = a.configFile ?? defaultConfigFile;
  if (a.configFile === undefined && !existsSync(file)) return 0;
  const { loadOrComplain } = await import('./load-or-complain.ts');
  const program = loadOrComplain(file, a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  console.log(`Configuration file is ${file}`);
  return 0;
}

async function runDaemon(a: EximArguments): Promise<number> {
  const [{ loadOrComplain }, { serve }] = await Promise.all([
    import('./load-or-complain.ts'),
    import('./serve.ts'),
  ]);
  const file = a.configFile ?? defaultConfigFile;
  const program = loadOrComplain(file, a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  try {
    await serve(program, {
      parts: 'all',
      queueIntervalMs: a.queueIntervalMs,
      listen: a.listen,
      pidFile: a.pidFile,
      onReady: () => console.log('ready'),
      reload: (logs) => loadOrComplain(file, a.defines, (line) => logs.panic(line)),
    });
  } catch (error) {
    console.error(`exim: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  return 0;
}

async function runQueueOnce(a: EximArguments): Promise<number> {
  const [{ loadOrComplain }, { openProgramLogs }, { startEdge }] = await Promise.all([
    import('./load-or-complain.ts'),
    import('./serve.ts'),
    import('./edge/edge.ts'),
  ]);
  const program = loadOrComplain(a.configFile ?? defaultConfigFile, a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  const logs = openProgramLogs(program);
  const edge = await startEdge({
    program,
    logs,
    queueIntervalMs: undefined,
    listen: undefined,
    serve: false,
  });
  logs.main(`Start queue run: pid=${process.pid}`);
  await edge.queueRun({});
  logs.main(`End queue run: pid=${process.pid}`);
  await edge.stop();
  logs.close();
  return 0;
}
