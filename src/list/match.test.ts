import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import type { ExpandScope, ListAnswer, LookupAnswer, LookupRequest, MatchKind } from '../expand/scope.ts';
import { compileList } from './compile.ts';
import { createLists, listProblems, type ListEnvironment, type NamedLists } from './match.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-list-'));
after(() => rmSync(folder, { recursive: true }));

function setup(
  texts: Partial<Record<MatchKind, Record<string, string>>> = {},
  environment: ListEnvironment = { localAddresses: () => ['192.0.2.5', '::1'] },
  lookup: (r: LookupRequest) => LookupAnswer | Promise<LookupAnswer> = () => ({ kind: 'missing' }),
) {
  const named: NamedLists = { get: (kind, name) => texts[kind]?.[name] };
  const lists = createLists(named, environment);
  const scope: ExpandScope = {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'example.test',
      qualifyRecipient: 'example.test',
      spoolDirectory: folder,
      configFile: '/dev/null',
    },
    services: { lookup, matchList: lists.matchList },
    address: { local: 'User', domain: 'A.test' },
  };
  return { ...lists, scope };
}

/** `captures` are `$0`, `$1`... of a wildcard or regular expression. */
const yes = (data?: string, ...captures: string[]): ListAnswer =>
  data === undefined ? { kind: 'yes' } : { kind: 'yes', data, ...(captures.length > 0 ? { captures } : {}) };
const no: ListAnswer = { kind: 'no' };

test('the matched item is the data', () => {
  const { matchDomainList, scope } = setup({ domain: { local: 'a.test : *.b.test : ^c', not: '!x.test' } });
  const match = (list: string, domain: string) => matchDomainList(list, domain, scope);
  assert.deepEqual(match('x : A.Test', 'a.TEST'), yes('A.Test'));
  assert.deepEqual(match('+local', 'sub.b.test'), yes('*.b.test', 'sub.b.test', 'sub'));
  assert.deepEqual(match('+local', 'c.test'), yes('^c', 'c'));
  assert.deepEqual(match('^(.)\\\\.(t)', 'c.test'), yes('^(.)\\.(t)', 'c.t', 'c', 't'));
  assert.deepEqual(match('@', 'MX.example.test'), yes('mx.example.test'));
  assert.deepEqual(match('@[]', '[192.0.2.5]'), yes('@[]'));
  assert.deepEqual(match('!y', 'a.test'), { kind: 'yes', byDefault: true });
  assert.deepEqual(match('+not', 'a.test'), { kind: 'yes', byDefault: true });
  assert.deepEqual(match('! +local', 'a.test'), no);
});

test('a list is expanded before it is taken apart', () => {
  const { matchDomainList, scope } = setup();
  assert.deepEqual(matchDomainList('x : ${lc:B.TEST}', 'b.test', scope), yes('b.test'));
  assert.deepEqual(matchDomainList('\\N^b\\.\\w+$\\N', 'b.test', scope), yes('^b\\.\\w+$', 'b.test'));
  assert.deepEqual(matchDomainList('${if eq{a}{b}{x}fail}', 'b.test', scope), no);
  assert.deepEqual(matchDomainList('! ${if eq{a}{b}{x}fail}', 'b.test', scope), no);
  const bad = matchDomainList('${nonsense', 'b.test', scope);
  assert.ok(!(bad instanceof Promise) && bad.kind === 'defer');
  assert.match(bad.reason, /^failed to expand "\$\{nonsense" while checking a list: /);
});

test('an item from the wire stays tainted and names no file', () => {
  const { matchDomainList, matchList, scope } = setup();
  const tainted = { kind: 'yes', data: 'a.test', tainted: true };
  assert.deepEqual(matchDomainList('$domain', 'a.test', scope), tainted);
  assert.deepEqual(matchList('domain', 'a.test', 'a.test', scope, true), tainted);
  assert.deepEqual(matchList('domain', 'a.test', 'a.test', scope, false), yes('a.test'));
  const file = path.join(folder, 'tainted');
  writeFileSync(file, 'a.test\n');
  assert.deepEqual(matchList('domain', file, 'a.test', scope), yes('a.test'));
  const refused = matchList('domain', file, 'a.test', scope, true);
  assert.ok(!(refused instanceof Promise) && refused.kind === 'defer');
  assert.match(refused.reason, /Tainted filename/);
});

test('lookups get the key, the options and the taint, and give the data', async () => {
  const asked: LookupRequest[] = [];
  const { matchDomainList, matchAddressList, matchHostList, scope } = setup({}, undefined, async (r) => {
    asked.push(r);
    return r.key === 'a.test' ? { kind: 'found', value: 'value' } : { kind: 'missing' };
  });
  assert.deepEqual(await matchDomainList('partial2-lsearch*,ret=key;/file', 'A.Test', scope), yes('value'));
  assert.deepEqual(await matchDomainList('lsearch;/file : b.test', 'b.test', scope), yes('b.test'));
  assert.deepEqual(await matchAddressList('u@lsearch;/file', 'U@A.TEST', scope), yes('u@value'));
  assert.deepEqual(await matchHostList('net24-lsearch;/file', '192.0.2.77', scope), no);
  assert.deepEqual(await matchHostList('net-iplsearch;/file', '2001:db8::1', scope), no);
  assert.deepEqual(await matchHostList('net48-lsearch;/file', '2001:db8:1:2::3', scope), no);
  assert.deepEqual(
    asked.map((r) => r.key),
    [
      'a.test',
      'b.test',
      'a.test',
      '192.0.2.0/24',
      '2001:0db8:0000:0000:0000:0000:0000:0001',
      '2001.0db8.0001.0000.0000.0000.0000.0000/48',
    ],
  );
  assert.deepEqual(asked[0], {
    type: 'lsearch',
    partial: { minimum: 2, affix: '*.' },
    defaultStar: '*',
    options: ['ret=key'],
    key: 'a.test',
    keyTainted: true,
    file: '/file',
    fileTainted: false,
  });
});

test('a lookup that defers makes the list defer, and the items before it still decide', () => {
  const { matchDomainList, scope } = setup({}, undefined, () => ({ kind: 'defer', reason: 'away' }));
  assert.deepEqual(matchDomainList('lsearch;/f : a.test', 'a.test', scope), {
    kind: 'defer',
    reason: 'away',
  });
  assert.deepEqual(matchDomainList('! lsearch;/f : a.test', 'a.test', scope), {
    kind: 'defer',
    reason: 'away',
  });
  assert.deepEqual(matchDomainList('a.test : lsearch;/f', 'a.test', scope), yes('a.test'));
});

test('local parts found by domain (@@), continued by >', async () => {
  const table: Record<string, string> = { 'a.test': 'one : !two : >*', '*': '^\\d+$ : >loop', loop: '>loop' };
  const { matchAddressList, scope } = setup({}, undefined, (r) => {
    const value = table[r.key];
    return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
  });
  const match = (address: string) => matchAddressList('@@lsearch;/f', address, scope);
  assert.equal((await match('one@a.test')).kind, 'yes');
  assert.equal((await match('two@a.test')).kind, 'no');
  assert.equal((await match('123@a.test')).kind, 'yes');
  assert.equal((await match('one@b.test')).kind, 'no');
  assert.equal((await match('')).kind, 'no');
  const loop = await match('other@a.test');
  assert.ok(loop.kind === 'defer');
  assert.match(loop.reason, /Loop detected/);
});

test('named lists that go round in circles defer', () => {
  const { matchDomainList, scope } = setup({ domain: { a: '+b', b: 'x : +a' } });
  const answer = matchDomainList('+a', 'y', scope);
  assert.ok(!(answer instanceof Promise) && answer.kind === 'defer');
  assert.match(answer.reason, /nested too deeply/);
  assert.deepEqual(matchDomainList('+a', 'x', scope), yes('x'));
});

test('a named list must be of the right kind', () => {
  const { matchHostList, scope } = setup({ domain: { d: '*' } });
  assert.deepEqual(matchHostList('+d', '192.0.2.1', scope), {
    kind: 'defer',
    reason: 'unknown named host list "+d"',
  });
});

test('host names are looked up, and what is not found counts as the list says', async () => {
  const environment: ListEnvironment = {
    localAddresses: () => [],
    addressesOf: (name) =>
      name === 'known.test'
        ? { kind: 'found', values: ['192.0.2.1'] }
        : name === 'slow.test'
          ? { kind: 'defer', reason: 'slow' }
          : { kind: 'missing' },
    async namesOf(address) {
      return address === '192.0.2.1'
        ? { kind: 'found', values: ['one.test', 'two.test'] }
        : { kind: 'missing' };
    },
  };
  const { matchHostList, scope } = setup({}, environment);
  const kind = async (list: string, address: string): Promise<string> =>
    (await matchHostList(list, address, scope)).kind;
  assert.equal(await kind('known.test', '192.0.2.1'), 'yes');
  assert.equal(await kind('known.test', '192.0.2.2'), 'no');
  assert.equal(await kind('nowhere.test : 192.0.2.2', '192.0.2.2'), 'no');
  assert.equal(await kind('+ignore_unknown : nowhere.test : 192.0.2.2', '192.0.2.2'), 'yes');
  assert.equal(await kind('+include_unknown : nowhere.test', '192.0.2.2'), 'yes');
  assert.equal(await kind('slow.test : 192.0.2.2', '192.0.2.2'), 'defer');
  assert.equal(await kind('+ignore_defer : slow.test : 192.0.2.2', '192.0.2.2'), 'yes');
  assert.equal(await kind('+include_defer : slow.test', '192.0.2.2'), 'yes');
  assert.equal(await kind('*.test', '192.0.2.1'), 'yes');
  assert.equal(await kind('*two.test', '192.0.2.1'), 'yes');
  assert.equal(await kind('^three : !*.test', '192.0.2.1'), 'no');
  assert.equal(await kind('*.test', '192.0.2.2'), 'no');
  assert.equal(await kind('*.test', ''), 'no');
});

test('a host name that the connection knows is used; without any means the list defers', () => {
  const { matchHostList, scope } = setup();
  const connection = {
    hostAddress: '192.0.2.1',
    hostPort: 1,
    hostName: 'client.test',
    interfaceAddress: '',
    interfacePort: 0,
    protocol: 'smtp',
    variables: new Map<string, string>(),
  };
  assert.deepEqual(
    matchHostList('*.test', '192.0.2.1', { ...scope, connection }),
    yes('*.test', 'client.test', 'client'),
  );
  const unknown = matchHostList('*.test', '192.0.2.2', { ...scope, connection });
  assert.ok(!(unknown instanceof Promise) && unknown.kind === 'defer');
});

test('a file is read again when it has changed', () => {
  const { matchDomainList, scope } = setup();
  const file = path.join(folder, 'changing');
  writeFileSync(file, 'a.test\n');
  assert.equal((matchDomainList(file, 'b.test', scope) as ListAnswer).kind, 'no');
  writeFileSync(file, 'b.test\n');
  assert.equal((matchDomainList(file, 'b.test', scope) as ListAnswer).kind, 'yes');
  utimesSync(file, 1, 1);
  assert.equal((matchDomainList(file, 'b.test', scope) as ListAnswer).kind, 'yes');
  rmSync(file);
  const gone = matchDomainList(file, 'b.test', scope) as ListAnswer;
  assert.deepEqual(gone, { kind: 'defer', reason: `failed to open ${file}: No such file or directory` });
});

test('letter case of a router with caseful_local_part', () => {
  const { matchLocalPartList, scope } = setup();
  assert.deepEqual(matchLocalPartList('user', 'User', scope), yes('user'));
  assert.deepEqual(matchLocalPartList('user', 'User', scope, { caseful: true }), no);
  assert.deepEqual(matchLocalPartList('^U', 'User', scope, { caseful: true }), yes('^U', 'U'));
});

test('mistakes that show before any mail', () => {
  const problem = (kind: MatchKind, text: string): string => listProblems(kind, text).join('; ');
  assert.equal(problem('domain', 'a.test : +local : *.b : lsearch;/f'), '');
  assert.equal(problem('domain', '@mx_any'), '');
  assert.match(problem('domain', '@mx_any/ignore=1.2.3'), /malformed/);
  assert.match(problem('domain', '^('), /regular expression error in "\^\("/);
  assert.match(problem('domain', 'nosuch;/f'), /unknown lookup type "nosuch"/);
  assert.match(
    problem('host', '1.2.3/24 : 192.0.2.1/'),
    /malformed.*"1\.2\.3\/24"; malformed.*"192\.0\.2\.1\/"/,
  );
  assert.match(problem('address', 'u@nosuch;/f'), /unknown lookup type/);
  assert.match(problem('local_part', '${'), /failed to expand/);
});

test('nothing that a list says makes it throw', () => {
  const { matchList, scope } = setup();
  const kind = fc.constantFrom<MatchKind>('domain', 'host', 'address', 'local_part');
  const piece = fc.constantFrom(
    '!',
    '+',
    '*',
    '^',
    '@',
    '@[]',
    ':',
    ';',
    '/',
    'a.test',
    '192.0.2.0/24',
    'net24-',
    'lsearch;',
    '@@',
    '<;',
    ' ',
    '(',
    '::1',
    '%',
    '#',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary-ascii' }),
    fc.array(piece).map((p) => p.join('')),
  );
  fc.assert(
    fc.property(kind, text, text, fc.boolean(), (k, list, subject, tainted) => {
      compileList(k, list, { tainted });
      // A list from the wire, so that no path is opened.
      void matchList(k, list, subject, scope, true);
    }),
    { numRuns: 1000 },
  );
});

test('text from the wire stays within the query that it was quoted for', async () => {
  const asked: LookupRequest[] = [];
  const ask = async (list: string, local: string): Promise<string> => {
    asked.length = 0;
    const { matchDomainList, scope } = setup({}, undefined, (r) => {
      asked.push(r);
      return { kind: 'missing' };
    });
    await matchDomainList(list, 'a.test', { ...scope, address: { local, domain: 'a.test' } });
    return asked
      .map(
        (r) => `${r.type} ${r.key}${r.keyTainted ? ' tainted' : ''}${r.keyQuoted === true ? ' quoted' : ''}`,
      )
      .join(' / ');
  };
  const quoted = "pgsql;select '${quote_pgsql:$local_part}'";
  assert.equal(await ask(quoted, "o'x"), "pgsql select 'o''x' quoted");
  // A separator in it neither ends the item nor begins another.
  assert.equal(await ask(quoted, 'x:pgsql;delete from t'), "pgsql select 'x:pgsql;delete from t' quoted");
  assert.equal(await ask(quoted, 'x:*'), "pgsql select 'x:*' quoted");
  assert.equal(await ask(`<| x | ${quoted}`, 'a|b:c'), "pgsql select 'a|b:c' quoted");
  assert.equal(
    await ask(`x : !${quoted} : ldap;ldap:///dc=test`, 'a'),
    "pgsql select 'a' quoted / ldap ldap tainted",
  );
  // Where it is not quoted, quoted for another type or not inside a query, it is as tainted as any.
  assert.equal(await ask("pgsql;select '$local_part'", 'a'), "pgsql select 'a' tainted");
  assert.equal(await ask("pgsql;select '${quote_mysql:$local_part}'", 'a'), "pgsql select 'a' tainted");
  assert.equal(await ask('${quote_pgsql:$local_part} : b.test', 'pgsql;select 1'), 'pgsql select 1 tainted');
  assert.equal(await ask('x : ${quote_pgsql:$local_part}', 'pgsql;select 1'), 'pgsql select 1 tainted');
  assert.equal(await ask('pgsql${quote_pgsql:$local_part}', ';select 1'), 'pgsql select 1 tainted');
  assert.equal(
    await ask("$local_part;select '${quote_pgsql:$domain}'", 'pgsql'),
    "pgsql select 'a.test' tainted",
  );
});

test('@mx_... asks for the hosts of the domain, and defers where it cannot', async () => {
  const environment: ListEnvironment = {
    localAddresses: () => ['192.0.2.5'],
    mailHostsOf: (domain) =>
      domain === 'away.test'
        ? { kind: 'defer', reason: 'away' }
        : domain === 'a.test'
          ? {
              kind: 'found',
              hosts: [
                { preference: 5, addresses: ['192.0.2.1'] },
                { preference: 9, addresses: ['192.0.2.5'] },
              ],
            }
          : { kind: 'missing' },
  };
  const { matchDomainList, scope } = setup({}, environment);
  const kind = async (list: string, domain: string): Promise<string> =>
    (await matchDomainList(list, domain, scope)).kind;
  assert.equal(await kind('@mx_any', 'a.test'), 'yes');
  assert.equal(await kind('@mx_primary', 'a.test'), 'no');
  assert.equal(await kind('@mx_secondary', 'a.test'), 'yes');
  assert.equal(await kind('@mx_primary/ignore=192.0.2.1', 'a.test'), 'yes');
  assert.equal(await kind('@mx_any', 'b.test'), 'no');
  assert.equal(await kind('@mx_any', 'away.test'), 'defer');
  const without = setup();
  assert.equal((await without.matchDomainList('@mx_any', 'a.test', without.scope)).kind, 'defer');
});
