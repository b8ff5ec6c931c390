// The files, the configuration and the scope in which expand.test.ts compares answers: the same for the real Exim and ours.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ipInNetwork } from '../../src/expand/ip.ts';
import { sameText } from '../../src/expand/ascii.ts';
import { compileRegex } from '../../src/expand/regex.ts';
import { expandText } from '../../src/expand/expand.ts';
import type { ExpandScope, ExpandServices, ListAnswer, MatchKind } from '../../src/expand/scope.ts';
import { createDsearch } from '../../src/lookup/drivers/dsearch.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import { createPasswd } from '../../src/lookup/drivers/passwd.ts';
import {
  createIplsearch,
  createNwildlsearch,
  createWildlsearch,
} from '../../src/lookup/drivers/wildlsearch.ts';
import { createLookups } from '../../src/lookup/lookup.ts';
import { splitList } from '../../src/mail/list-text.ts';

const aliases = `# a comment
alice: alice@example.test
bob:bob@example.test

long: one@example.test,
   two@example.test,
# in between
	three@example.test
spaced   :   spaced data   
tabbed	data by tab
bare
colon: :fail:
colondata :include:/x
"quoted key": quoted data
"quo\\"te": escaped
"a:b": colon key
"unended
dup: first
dup: second
caf\xe9: latin
*@example.com: domain default
*: default
last: no newline`;

const domains = `exact.test: exact
*.example.com: example
*.org: org
*: star
.dot.test: dot
bare.test: bare
*.y.z.net: deep
`;

const hosts = `192.0.2.1: one
192.0.2.0/24: net
"2001:db8::/32": six
`;

const wild = `*.wild.test: wild
*fish: fish
^\\d+\\.num\\.test: num
literal: literal
`;

const namedLists: Readonly<Record<MatchKind, Readonly<Record<string, string>>>> = {
  domain: { local_domains: 'example.test : *.example.com', two: 'a.b : c.d' },
  host: { relay: '192.0.2.0/24' },
  address: { al: 'a@b : c@d' },
  local_part: { ll: 'x : y' },
};

export const eximConfig = (folder: string): string => `
primary_hostname = mx.example.test
qualify_domain = example.test
qualify_recipient = rcpt.example.test
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
timezone = UTC
keep_environment = HOME_OF_EXPAND_TEST
domainlist local_domains = ${namedLists.domain['local_domains']}
domainlist two = ${namedLists.domain['two']}
hostlist relay = ${namedLists.host['relay']}
addresslist al = ${namedLists.address['al']}
localpartlist ll = ${namedLists.local_part['ll']}
begin acl
a1:
  accept message = hello $acl_arg1 narg $acl_narg
a2:
  deny message = no
a3:
  defer message = later
a4:
  accept
`;

export function makeFiles(folder: string): void {
  for (const d of ['spool', 'log', 'sub']) mkdirSync(path.join(folder, d));
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text, 'latin1');
  write('aliases', aliases);
  write('domains', domains);
  write('hosts', hosts);
  write('wild', wild);
  write('two-lines', 'first\nsecond\n');
  write('empty', '');
  write('exim.conf', eximConfig(folder));
}

/** The list items that the lines use: names, wildcards, networks, negation and named lists. */
function itemMatches(kind: MatchKind, item: string, subject: string): boolean {
  if (kind === 'host') return item === subject || ipInNetwork(subject, item);
  if (kind === 'address') {
    const [local = '', domain = ''] = item.split('@');
    const [subjectLocal = '', subjectDomain = ''] = subject.split('@');
    return (local === '*' || sameText(local, subjectLocal)) && sameText(domain, subjectDomain);
  }
  return item.startsWith('*') ? subject.toLowerCase().endsWith(item.slice(1)) : sameText(item, subject);
}

function matchList(kind: MatchKind, list: string, subject: string): ListAnswer {
  const items = splitList(list);
  for (const item of items) {
    const negated = item.startsWith('!');
    const text = negated ? item.slice(1) : item;
    if (text.startsWith('+')) {
      const inner = matchList(kind, namedLists[kind][text.slice(1)] ?? '', subject);
      if (inner.kind === 'yes') return inner;
    } else if (itemMatches(kind, text, subject))
      return negated ? { kind: 'no' } : { kind: 'yes', data: kind === 'host' ? '' : text };
  }
  return items.at(-1)?.startsWith('!') === true ? { kind: 'yes' } : { kind: 'no' };
}

function callAcl(name: string, args: readonly string[]): ReturnType<NonNullable<ExpandServices['callAcl']>> {
  switch (name) {
    case 'a1':
      return { verdict: 'accept', message: `hello ${args[0] ?? ''} narg ${args.length}` };
    case 'a2':
      return { verdict: 'deny', message: 'no' };
    case 'a3':
      return { verdict: 'defer', message: 'later' };
    default:
      return { verdict: 'accept', message: '' };
  }
}

export function makeScope(folder: string): ExpandScope {
  const wildServices = {
    matchRegex(pattern: string, subject: string): boolean | string {
      const regex = compileRegex(pattern, { caseless: true });
      if (regex.kind === 'error') return regex.reason;
      return regex.match(subject) !== undefined;
    },
    expandKey(key: string): string | undefined {
      const r = expandText(key, scope);
      return r instanceof Promise || r.kind !== 'ok' ? undefined : r.text;
    },
  };
  const scope: ExpandScope = {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'example.test',
      qualifyRecipient: 'rcpt.example.test',
      spoolDirectory: `${folder}/spool`,
      configFile: `${folder}/exim.conf`,
    },
    services: {
      lookup: createLookups([
        createLsearch(),
        createDsearch(),
        createPasswd(),
        createIplsearch(),
        createNwildlsearch(wildServices),
        createWildlsearch(wildServices),
      ]),
      matchList,
      namedList: (kind, name) =>
        (kind === undefined ? Object.values(namedLists) : [namedLists[kind]])
          .map((lists) => lists[name])
          .find((text) => text !== undefined),
      callAcl,
    },
  };
  return scope;
}
