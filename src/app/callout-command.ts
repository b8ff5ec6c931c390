/** `mailchute callout`: looks into the callout cache of a configuration's spool and changes it, and asks stores. */
import type { Hints } from '../hints/hints.ts';
import { endpointKey } from '../mail/endpoint.ts';
import { errorText } from '../mail/error-text.ts';
import { replySummary } from '../mail/reply.ts';
import { formatTimeInterval } from '../mail/time-interval.ts';
import { logText } from '../observe/log-text.ts';
import { type CalloutRow, calloutRows, isAbout } from '../verify/cache-records.ts';
import { calloutExpiry } from './callout-expiry.ts';
import { type CommandLine, readCommandLine, withHints } from './hints-command.ts';
import type { Program } from './program.ts';

const usage = `usage:
  mailchute callout list                       everything that is known, one thing a line
  mailchute callout show ADDRESS|DOMAIN        what is known of an address and its domain, or in a domain
  mailchute callout flush ADDRESS|DOMAIN|all   forgets it: an address, a domain and its addresses, or everything;
                                               a daemon that runs has forgotten it a second later
  mailchute callout test ADDRESS [--from ADDRESS] [--size OCTETS] [--random] [--postmaster] [--cache]
                                               routes the address and asks its server; MAIL FROM:<> without --from;
                                               with --cache as an ACL does, which reads the cache and learns
options: -C FILE (the configuration), -DNAME=value`;

const testOptions = {
  '--from': true,
  '--size': true,
  '--random': false,
  '--postmaster': false,
  '--cache': false,
};

/** Gives the exit code: 0, 1 for what could not be done, and for `test` also what is said of -bv: 2 refused, 1 put off. */
export async function calloutCommand(
  words: readonly string[],
  print: (line: string) => void,
): Promise<number> {
  const [command = '', ...rest] = words.filter((w) => w !== '--help');
  if (words.includes('--help')) {
    print(usage);
    return 0;
  }
  const line = readCommandLine(rest, command === 'test' ? testOptions : {});
  const problem = typeof line === 'string' ? line : wordsProblem(command, line.words);
  if (typeof line === 'string' || problem !== undefined) {
    console.error(`mailchute callout: ${problem}\n${usage}`);
    return 1;
  }
  try {
    if (command === 'test') {
      const { testCallout } = await import('./callout-test.ts');
      return await testCallout(line, print);
    }
    return await withHints(line, (program, hints) => onCache(command, line, program, hints, print));
  } catch (error) {
    console.error(`mailchute callout: ${errorText(error)}`);
    return 1;
  }
}

const wanted: Readonly<Record<string, string>> = {
  show: 'which address or domain?',
  flush: 'what is to be forgotten? An address, a domain, or all',
  test: 'which address?',
};

function wordsProblem(command: string, words: readonly string[]): string | undefined {
  if (command === '') return 'what is to be done?';
  if (command !== 'list' && wanted[command] === undefined) return `unknown command ${command}`;
  if (command === 'list') return words.length === 0 ? undefined : `list takes no ${words[0] ?? ''}`;
  if (words.length === 0) return `${command}: ${wanted[command] ?? ''}`;
  if (words.length > 1) return `${command}: one at a time, not also ${words[1] ?? ''}`;
  if (command === 'test' && !/.@./.test(words[0] ?? ''))
    return `test: "${words[0] ?? ''}" is no address with a domain`;
  return undefined;
}

async function onCache(
  command: string,
  { words: [subject = ''] }: CommandLine,
  program: Program,
  hints: Hints | undefined,
  print: (line: string) => void,
): Promise<number> {
  const nowMs = Date.now();
  const rows = hints === undefined ? [] : calloutRows(hints, calloutExpiry(program.model.main), nowMs);
  if (command === 'list') {
    for (const row of rows) print(rowText(row, nowMs));
    return 0;
  }
  // An address is answered for by its domain too.
  const domain = subject.slice(subject.lastIndexOf('@') + 1).toLowerCase();
  if (command === 'show') {
    const found = [...rows].filter(
      (row) => isAbout(row, subject) || (row.key === domain && row.subject === domain),
    );
    for (const row of found) print(rowText(row, nowMs));
    if (found.length === 0) console.error(`nothing is known of ${subject}`);
    return found.length === 0 ? 1 : 0;
  }
  const keys = new Set<string>();
  let domainRefuses = false;
  for (const row of rows) {
    if (subject === 'all' || isAbout(row, subject)) keys.add(row.key);
    else domainRefuses ||= row.subject === domain && row.result === 'reject' && row.about !== 'random';
  }
  for (const key of keys) await hints?.delete('callout', key);
  print(`${keys.size} ${keys.size === 1 ? 'record' : 'records'} forgotten`);
  if (domainRefuses) print(`${domain} is still known to refuse: mailchute callout show ${domain}`);
  return 0;
}

const aboutWords: Readonly<Record<CalloutRow['about'], string>> = {
  address: '',
  quota: ' quota',
  domain: ' MAIL FROM:<>',
  random: ' any local part',
  postmaster: ' postmaster',
};

function rowText(row: CalloutRow, nowMs: number): string {
  const { subject, about, sender, result, atMs, expiresAtMs, said } = row;
  const who = `${subject}${aboutWords[about]}${sender === undefined ? '' : ` from ${sender}`}`;
  const what = result === 'accept' ? 'accepted' : 'refused';
  const times = `${formatTimeInterval(nowMs - atMs)} ago, expires in ${formatTimeInterval(expiresAtMs - nowMs)}`;
  const words =
    said === undefined ? '' : `: ${endpointKey(said.peer)} after ${said.after}: ${replySummary(said.reply)}`;
  return logText(`${who} ${what} ${times}${words}`);
}
