/** The text form of manualroute's rules (Exim manual, "Routing rules in route_list", "Format of the list of hosts"). */
import { splitList } from '../../mail/list-text.ts';
import type { RouteHost } from '../../mail/route-host.ts';

/** `route_list` item: whom it is for and what to do; texts are not yet expanded. */
export interface RouteRule {
  readonly pattern: string;
  readonly hosts: string;
  readonly options: string;
}

/** Parts a `route_list` into its rules. Items are parted by semicolons unless the list names another separator. */
export function parseRouteList(text: string): RouteRule[] {
  const items = splitList(/^\s*<[^\w\s]/.test(text) ? text : `<;${text}`);
  const rules: RouteRule[] = [];
  for (const item of items) {
    if (item === '') continue;
    const [pattern, rest] = takeWord(item);
    const { hosts, options } = parseRouteData(rest);
    rules.push({ pattern, hosts, options });
  }
  return rules;
}

/** The hosts and options of a rule, or of an expanded `route_data`. */
export function parseRouteData(text: string): Pick<RouteRule, 'hosts' | 'options'> {
  const [hosts, options] = takeWord(text);
  return { hosts, options };
}

/** The first word of a text, quoted or not, and what follows it. A quote that is not closed runs to the end. */
function takeWord(text: string): readonly [word: string, rest: string] {
  const trimmed = text.trimStart();
  if (!trimmed.startsWith('"')) {
    const end = trimmed.search(/\s/);
    return end < 0 ? [trimmed, ''] : [trimmed.slice(0, end), trimmed.slice(end + 1).trim()];
  }
  let word = '';
  let i = 1;
  for (; i < trimmed.length && trimmed[i] !== '"'; i++) {
    if (trimmed[i] !== '\\') {
      word += trimmed[i];
      continue;
    }
    const escape = /^\\(?:x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|[^])?/.exec(trimmed.slice(i))?.[0] ?? '\\';
    word += unescape(escape);
    i += escape.length - 1;
  }
  return [word, trimmed.slice(i + 1).trim()];
}

const controls: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

function unescape(escape: string): string {
  const body = escape.slice(1);
  if (/^x./.test(body)) return String.fromCharCode(Number.parseInt(body.slice(1), 16));
  if (/^[0-7]/.test(body)) return String.fromCharCode(Number.parseInt(body, 8) & 0xff);
  return controls[body] ?? body;
}

export type Lookup = 'default' | 'byname' | 'bydns';

/** The words after a host list. */
export interface RuleOptions {
  readonly transport?: string;
  readonly randomize?: boolean;
  readonly lookup: Lookup;
  /** `ipv4_only` and `ipv4_prefer`; they concern direct DNS look-ups only. */
  readonly ipv4?: 'only' | 'prefer';
}

const noOptions: RuleOptions = { lookup: 'default' };
const byName: RuleOptions = { lookup: 'byname' };

/** Reads the options of a rule; a text names what is neither an option nor a transport. */
export function parseRuleOptions(text: string, isTransport: (name: string) => boolean): RuleOptions | string {
  if (text === '') return noOptions;
  if (text === 'byname') return byName;
  let transport: string | undefined;
  let randomize: boolean | undefined;
  let lookup: Lookup = 'default';
  let ipv4: RuleOptions['ipv4'];
  for (const word of text.split(/\s+/)) {
    // Dovecot's wiki ends its route_data with a comment. Exim takes that for an option and defers all mail; no option
    // and no transport has a name that begins so, hence nothing that works there is changed by taking it as meant.
    if (word.startsWith('#')) break;
    if (word === 'randomize') randomize = true;
    else if (word === 'no_randomize') randomize = false;
    else if (word === 'byname' || word === 'bydns') lookup = word;
    else if (word === 'ipv4_only') ipv4 = 'only';
    else if (word === 'ipv4_prefer') ipv4 = 'prefer';
    else if (isTransport(word)) transport = word;
    else return `unknown routing option or transport name "${word}"`;
  }
  return {
    ...(transport === undefined ? undefined : { transport }),
    ...(randomize === undefined ? undefined : { randomize }),
    lookup,
    ...(ipv4 === undefined ? undefined : { ipv4 }),
  };
}

/** One item of a host list. */
export type HostItem =
  | { readonly kind: 'host'; readonly name: string; readonly port?: number; readonly mx: boolean }
  /** `+`: parts groups that are put into random order separately. */
  | { readonly kind: 'boundary' };

/** Reads a host list after expansion (Exim manual, "Format of one host item"). Empty items are dropped. */
export function parseHostList(text: string): HostItem[] {
  const items: HostItem[] = [];
  for (const item of splitList(text)) {
    if (item === '') continue;
    if (item === '+') items.push({ kind: 'boundary' });
    else items.push(parseHostItem(item));
  }
  return items;
}

function parseHostItem(item: string): HostItem {
  let name = item;
  let port: number | undefined;
  const found = isBareIpv6(item) ? null : /^(.+):(\d+)$/s.exec(item);
  if (found !== null) {
    name = found[1] ?? item;
    port = Number(found[2]);
    if (name.startsWith('[') && name.endsWith(']')) name = name.slice(1, -1);
  }
  const mx = /\/mx$/i.test(name);
  if (mx) name = name.slice(0, -3);
  return port === undefined ? { kind: 'host', name, mx } : { kind: 'host', name, port, mx };
}

/** Its last group of digits is no port. */
function isBareIpv6(item: string): boolean {
  return /^[0-9A-Fa-f:.]+$/.test(item) && item.includes(':') && item.indexOf(':') !== item.lastIndexOf(':');
}

/** The hosts of a list, without what is between them. */
export function hostsOf(items: readonly HostItem[]): RouteHost[] {
  return items.flatMap((item) =>
    item.kind === 'host'
      ? [{ name: item.name, ...(item.port === undefined ? {} : { port: item.port }) }]
      : [],
  );
}

/** Puts hosts into random order, within the groups that `+` parts. */
export function randomizeHosts(items: readonly HostItem[], random: () => number): HostItem[] {
  const out: HostItem[] = [];
  let group: HostItem[] = [];
  for (const item of items) {
    if (item.kind === 'host') group.push(item);
    else {
      out.push(...shuffled(group, random));
      group = [];
    }
  }
  return [...out, ...shuffled(group, random)];
}

/** @param random gives numbers from 0 to below 1 */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items];
  const out: T[] = [];
  while (left.length > 0) out.push(...left.splice(Math.floor(random() * left.length), 1));
  return out;
}
