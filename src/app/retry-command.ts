/** `mailchute retry`: which hosts are down, since when, and when they are tried again (Exim's utility `exinext`). */
import { formatAddress, isSyntaxError, parseAddress } from '../mail/address.ts';
import { errorText } from '../mail/error-text.ts';
import type { RouteHost } from '../mail/route-host.ts';
import { formatTimeInterval } from '../mail/time-interval.ts';
import { logText } from '../observe/log-text.ts';
import { logTime } from '../observe/log-time.ts';
import { type HostState, hostStates } from '../queue/host-records.ts';
import { routeAll } from '../router/route.ts';
import { environment } from './address-test.ts';
import { readCommandLine, withHints } from './hints-command.ts';
import type { Program } from './program.ts';

const usage = `usage: mailchute retry [-C FILE] [-DNAME=value] [ADDRESS|HOST]
  without a word, all hosts that are down; else those with that name or address, or those to which mail for ADDRESS goes`;

/** Gives the exit code: 1 for what could not be done. */
export async function retryCommand(words: readonly string[], print: (line: string) => void): Promise<number> {
  if (words.includes('--help')) {
    print(usage);
    return 0;
  }
  const line = readCommandLine(words);
  const extra = typeof line === 'string' ? undefined : line.words[1];
  if (typeof line === 'string' || extra !== undefined) {
    console.error(
      `mailchute retry: ${typeof line === 'string' ? line : `one at a time, not also ${extra}`}\n${usage}`,
    );
    return 1;
  }
  const [subject] = line.words;
  try {
    return await withHints(line, async (program, hints) => {
      const nowMs = Date.now();
      const states = hints === undefined ? [] : [...hostStates(hints, nowMs)];
      const wanted = subject === undefined ? () => true : await matcherOf(program, subject, print);
      if (typeof wanted === 'string') {
        console.error(`mailchute retry: ${wanted}`);
        return 1;
      }
      const found = states.filter(wanted);
      for (const state of found) for (const text of stateText(state, nowMs)) print(text);
      if (found.length === 0) print(`No retry data found${subject === undefined ? '' : ` for ${subject}`}`);
      return 0;
    });
  } catch (error) {
    console.error(`mailchute retry: ${errorText(error)}`);
    return 1;
  }
}

type Matcher = (state: HostState) => boolean;

/** Of an address, the places where its mail would go now are told, too. */
async function matcherOf(
  program: Program,
  subject: string,
  print: (line: string) => void,
): Promise<Matcher | string> {
  if (!subject.includes('@')) {
    const name = subject.toLowerCase();
    return ({ host, transport }) =>
      host === undefined ? transport === subject : host.name.toLowerCase() === name || host.address === name;
  }
  const address = parseAddress(subject);
  if (isSyntaxError(address)) return `malformed address "${subject}" (${address.text})`;
  if (address.domain === '') return `"${subject}" has no domain`;
  const leaves = await routeAll(
    address,
    environment(program, 'address-test', undefined),
    new AbortController().signal,
    { width: 1, duplicates: true },
  );
  const places: { transport: string; hosts: readonly RouteHost[] }[] = [];
  for (const { address: leaf, routed } of leaves) {
    const who = formatAddress(leaf);
    if (routed.kind === 'routed') {
      const hosts = routed.hosts.map((h) => h.name).join(', ');
      print(
        logText(`${who}: transport ${routed.transport ?? '<none>'}${hosts === '' ? '' : `, hosts ${hosts}`}`),
      );
      places.push({ transport: routed.transport ?? '', hosts: routed.hosts });
    } else if (routed.kind === 'discard') print(logText(`${who} is discarded`));
    else print(logText(`${who}: ${routed.reason.text}`));
  }
  return ({ transport, host }) =>
    places.some(
      (p) =>
        p.transport === transport &&
        // The transport may have hosts of its own, or take the router's for others.
        (host === undefined ||
          p.hosts.length === 0 ||
          p.hosts.some((h) => h.name === host.name && (h.address ?? host.address) === host.address)),
    );
}

function stateText(state: HostState, nowMs: number): readonly string[] {
  const { transport, host, firstFailedAtMs, lastTryAtMs, nextTryAtMs, lastCutoffMs, expired, text } = state;
  const place =
    host === undefined
      ? ''
      : ` ${host.name} [${host.address}]${host.port === undefined ? '' : `:${host.port}`}`;
  const due = nextTryAtMs <= nowMs ? 'now' : `in ${formatTimeInterval(nextTryAtMs - nowMs)}`;
  const endMs = firstFailedAtMs + lastCutoffMs;
  return [
    logText(`Transport: ${transport}${place}: ${text}`),
    `  first failed: ${logTime(firstFailedAtMs)} (${formatTimeInterval(nowMs - firstFailedAtMs)} ago)`,
    `  last tried:   ${logTime(lastTryAtMs)} (${formatTimeInterval(nowMs - lastTryAtMs)} ago)`,
    `  next try at:  ${logTime(nextTryAtMs)} (${due})`,
    expired
      ? '  past final cutoff time: mail for it is returned when a try fails'
      : lastCutoffMs === 0
        ? '  no retry rule: mail for it is returned at once'
        : `  final cutoff: ${logTime(endMs)}; mail for it is returned when a try fails after that`,
  ];
}
