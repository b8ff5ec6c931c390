/** What `bin/exim` does. Each mode loads only what it needs, since people wait for the answer. */
import { existsSync } from 'node:fs';
import { type EximArguments, parseEximArguments } from '../cli/exim-arguments.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';
import { startInBackground } from './background.ts';
import { chooseConfigFile } from './config-file.ts';
import type { Edge } from './edge/edge.ts';
import { errorText } from '../mail/error-text.ts';

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
    case 'expand':
      return expandTexts(a);
    case 'test-rewrite':
    case 'test-retry': {
      const { testRules } = await import('./test-rules.ts');
      return testRules(a);
    }
    case 'address-test':
    case 'verify-recipient':
    case 'verify-sender': {
      const { testAddresses } = await import('./address-test.ts');
      return testAddresses(a, a.mode, process.stdin, (line) => console.log(line));
    }
    case 'print': {
      const { printConfig } = await import('./print-config.ts');
      return printConfig(a);
    }
  }
}

async function expandTexts(a: EximArguments): Promise<number> {
  const [{ loadOrComplain }, { runExpandCommand }] = await Promise.all([
    import('./load-or-complain.ts'),
    import('./expand-command.ts'),
  ]);
  const program = loadOrComplain(chooseConfigFile(a.configFile), a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  try {
    return await runExpandCommand(program, a, process.stdin, process.stdout);
  } finally {
    await program.closeLookups();
  }
}

async function printVersion(a: EximArguments): Promise<number> {
  const { versionText } = await import('./version-text.ts');
  console.log(versionText());
  const file = chooseConfigFile(a.configFile);
  if (a.configFile === undefined && !existsSync(file)) return 0;
  const { loadOrComplain } = await import('./load-or-complain.ts');
  const program = loadOrComplain(file, a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  console.log(`Configuration file search path is ${a.configFile ?? file}`);
  console.log(`Configuration file is ${file}`);
  return 0;
}

async function runDaemon(a: EximArguments): Promise<number> {
  const [{ loadOrComplain }, { serve }] = await Promise.all([
    import('./load-or-complain.ts'),
    import('./serve.ts'),
  ]);
  const file = chooseConfigFile(a.configFile);
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
    console.error(`exim: ${errorText(error)}`);
    return 1;
  }
  return 0;
}

async function runQueueOnce(a: EximArguments): Promise<number> {
  const [{ loadOrComplain }, { openProgramLogs }, { startEdge }, { sharedStorage }, { selectedLogItems }] =
    await Promise.all([
      import('./load-or-complain.ts'),
      import('./serve.ts'),
      import('./edge/edge.ts'),
      import('./edge/storage.ts'),
      import('../config/log-selector.ts'),
    ]);
  const program = loadOrComplain(chooseConfigFile(a.configFile), a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  const logs = openProgramLogs(program);
  let edge: Edge;
  try {
    edge = await startEdge({
      openStorage: sharedStorage(),
      program,
      logs,
      queueIntervalMs: undefined,
      listen: undefined,
      serve: false,
    });
  } catch (error) {
    console.error(`exim: ${errorText(error)}`);
    logs.close();
    return 1;
  }
  const runs = selectedLogItems(program.model.main.log_selector ?? '').has('queue_run');
  if (runs) logs.main(`Start queue run: pid=${process.pid}`);
  await edge.queueRun({ untried: true });
  if (runs) logs.main(`End queue run: pid=${process.pid}`);
  await edge.stop(10_000);
  await program.closeLookups();
  logs.close();
  return 0;
}
