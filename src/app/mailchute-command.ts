/** What `bin/mailchute` does. */
import type { Running } from './serve.ts';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { version } from './version.ts';
import { errorText } from '../mail/error-text.ts';

const usage = `usage:
  mailchute start [--tcp] [--config FILE] [--state FOLDER]   edge and store together, from etc/mailchute.conf
  mailchute store FILE                                       only the stores of a configuration
  mailchute check FILE [-DNAME=value ...]                    all that is wrong with a configuration
  mailchute callout list|show|flush|test ...                 the callout cache, and asking a server (mailchute callout --help)
  mailchute retry [-C FILE] [ADDRESS|HOST]                   hosts that are down, and when they are tried again
  mailchute send --to ADDRESS [--text TEXT ...]              sends a message (mailchute send --help)
  mailchute --version`;

const root: string = path.resolve(import.meta.dirname, '../..');

export async function runMailchute(words: readonly string[]): Promise<number> {
  const [command, ...rest] = words;
  switch (command) {
    case 'start':
      return start(rest);
    case 'store':
      return store(rest);
    case 'check':
      return check(rest);
    case 'send':
      return sendCommand(rest);
    case 'callout': {
      const { calloutCommand } = await import('./callout-command.ts');
      return calloutCommand(rest, (line) => console.log(line));
    }
    case 'retry': {
      const { retryCommand } = await import('./retry-command.ts');
      return retryCommand(rest, (line) => console.log(line));
    }
    case '--version':
      console.log(`Mailchute ${version}`);
      return 0;
    case '--help':
    case undefined:
      console.log(usage);
      return command === undefined ? 1 : 0;
    default:
      console.error(`unknown command ${command}\n${usage}`);
      return 1;
  }
}

async function start(words: readonly string[]): Promise<number> {
  let config = path.join(root, 'etc/mailchute.conf');
  let state = path.resolve('var');
  const defines = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === '--tcp') defines.set('LMTP_OVER_TCP', '');
    else if ((word === '--config' || word === '--state') && words[i + 1] !== undefined) {
      const value = path.resolve(words[++i] ?? '');
      if (word === '--config') config = value;
      else state = value;
    } else {
      console.error(`mailchute start: ${word} is not understood\n${usage}`);
      return 1;
    }
  }
  defines.set('STATE', state);
  defines.set('ETC', path.dirname(config));
  for (const folder of ['', 'run', 'mail']) mkdirSync(path.join(state, folder), { recursive: true });
  const { startText } = await import('./start-text.ts');
  return serveFile(
    config,
    defines,
    'all',
    (running) => console.log(startText(running)),
    (line) => console.log(line),
  );
}

async function store(words: readonly string[]): Promise<number> {
  const [file, ...rest] = words;
  const defines = readDefines(rest);
  if (file === undefined || typeof defines === 'string') {
    console.error(typeof defines === 'string' ? defines : usage);
    return 1;
  }
  const { placesText } = await import('./start-text.ts');
  return serveFile(file, defines, 'stores', (running) => console.log(`${placesText(running)}\nready`));
}

async function serveFile(
  file: string,
  defines: ReadonlyMap<string, string>,
  parts: 'all' | 'stores',
  onReady: (running: Running) => void,
  echo?: (line: string) => void,
): Promise<number> {
  const [{ loadOrComplain }, { serve }] = await Promise.all([
    import('./load-or-complain.ts'),
    import('./serve.ts'),
  ]);
  const program = loadOrComplain(file, defines, (line) => console.error(line));
  if (program === undefined) return 1;
  try {
    await serve(program, {
      parts,
      onReady,
      reload: (logs) => loadOrComplain(file, defines, (line) => logs.panic(line)),
      // Where the main log is shown, all is in it; what ends the start is told below.
      ...(echo === undefined ? { complain } : { echo }),
    });
    return 0;
  } catch (error) {
    console.error(`mailchute: ${errorText(error)}`);
    return 1;
  }
}

function complain(line: string): void {
  if (!line.startsWith('daemon not started:')) console.error(line);
}

async function check(words: readonly string[]): Promise<number> {
  const [file, ...rest] = words;
  const defines = readDefines(rest);
  if (file === undefined || typeof defines === 'string') {
    console.error(typeof defines === 'string' ? defines : usage);
    return 1;
  }
  const [{ loadProgram }, { formatWithSource }] = await Promise.all([
    import('./program.ts'),
    import('../config/format.ts'),
  ]);
  const { program, diagnostics, sources } = loadProgram(file, defines);
  for (const d of diagnostics) console.log(formatWithSource(d, sources));
  const errors = diagnostics.filter((d) => d.severity === 'error').length;
  console.log(errors === 0 ? `${file}: no errors` : `${file}: ${errors} error${errors === 1 ? '' : 's'}`);
  return program === undefined ? 1 : 0;
}

function readDefines(words: readonly string[]): Map<string, string> | string {
  const defines = new Map<string, string>();
  for (const word of words) {
    const m = /^-D([A-Z]\w*)(?:=(.*))?$/s.exec(word);
    if (m === null) return `${word} is not understood\n${usage}`;
    defines.set(m[1] ?? '', m[2] ?? '');
  }
  return defines;
}

async function sendCommand(words: readonly string[]): Promise<number> {
  const { parseSendWords, send, sendUsage } = await import('./send.ts');
  if (words.includes('--help')) {
    console.log(sendUsage);
    return 0;
  }
  const parsed = parseSendWords(words, (file) => readFileSync(file === '-' ? 0 : file));
  if (typeof parsed === 'string') {
    console.error(`mailchute send: ${parsed}`);
    return 1;
  }
  return send(parsed, (line) => console.log(line));
}
