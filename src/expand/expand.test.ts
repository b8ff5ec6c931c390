import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { array, assert as check, constantFrom, oneof, property, string } from 'fast-check';
import { expand, expandBoolean, expandText, parseTemplate, type Expansion } from './expand.ts';
import type { ExpandScope, ExpandServices, LookupAnswer, LookupRequest } from './scope.ts';
import { addressFacts, connectionFacts, messageFacts, scopeWith, services } from './test-scope.ts';

function now(source: string, scope: ExpandScope = scopeWith()): Expansion {
  const r = expandText(source, scope);
  assert.ok(!(r instanceof Promise), `${source} gave a promise`);
  return r;
}

function text(source: string, scope?: ExpandScope): string {
  const r = now(source, scope);
  return r.kind === 'ok' ? r.text : `${r.kind}: ${r.reason}`;
}

const wire = scopeWith({ address: addressFacts() });

describe('templates', () => {
  it('tell what is wrong and where', () => {
    const at = (source: string): unknown => {
      const t = parseTemplate(source);
      return t.kind === 'template-error' ? [t.reason, t.offset] : 'template';
    };
    assert.deepEqual(at('ab $nosuch'), ['unknown variable name "nosuch"', 4]);
    assert.deepEqual(at('ab ${nosuch}'), ['unknown variable in "${nosuch}"', 4]);
    assert.deepEqual(at('${lc:abc'), ['missing } at end of string', 8]);
    assert.deepEqual(at('${perl{f}}'), [
      '"perl" expansion item is not supported: there is no Perl interpreter',
      6,
    ]);
    assert.deepEqual(at('${if pam{a}{b}}'), [
      '"pam" condition is not supported: PAM loads foreign code into the program; ${if saslauthd asks PAM in a process of its own',
      8,
    ]);
    assert.equal(at('${lc:abc}'), 'template');
  });

  it('refuse what nests without end', () => {
    assert.match(text('${lc:'.repeat(5000)), /nested too deeply/);
    assert.match(text(`\${if ${'!'.repeat(5000)}eq{a}{a}}`), /nested too deeply/);
    assert.match(text(`\${if ${'and{{'.repeat(2000)}`), /nested too deeply/);
    assert.match(text(`\${eval:${'('.repeat(5000)}}`), /nested too deeply/);
  });

  it('are read once and evaluated with any scope', () => {
    const t = parseTemplate('${uc:$domain}');
    assert.ok(t.kind === 'template');
    for (const domain of ['a.test', 'b.test']) {
      const r = expand(t, scopeWith({ address: addressFacts({ domain }) }));
      assert.ok(!(r instanceof Promise) && r.kind === 'ok');
      assert.equal(r.text, domain.toUpperCase());
    }
  });

  it('never throw while they are read, whatever would run', () => {
    const pieces = constantFrom(
      '${run',
      ',preexpand',
      '{',
      '}',
      ' ',
      '"',
      "'",
      '\\',
      '$item',
      '${readsocket',
      '/bin/true',
      ':',
      'fail',
    );
    check(
      property(array(pieces, { maxLength: 30 }), (parts) => {
        parseTemplate(parts.join(''));
      }),
      { numRuns: 2000 },
    );
  });

  it('bound the time of all matches together', async () => {
    const items = `${'x'.repeat(15)}!:`.repeat(40_000);
    const scope = scopeWith({ extra: new Map([['home', { text: items, tainted: false }]]) });
    const r = await expandText('${if forany{$home}{match{$item}{\\N^(x+)+$\\N}}{y}{n}}', scope);
    assert.ok(r.kind === 'error');
    assert.match(r.reason, /take longer than 500 ms/);
  });

  it('never throw, nor does their evaluation', () => {
    const pieces = constantFrom(
      '${',
      '}',
      '{',
      '$',
      ':',
      '\\',
      '\\N',
      '!',
      '<',
      '=',
      ' ',
      'if ',
      'eq',
      'and',
      'or',
      'match',
      'def:',
      'forany',
      'lookup',
      'lsearch',
      'extract',
      'json',
      'sg',
      'tr',
      'map',
      'filter',
      'reduce',
      'sort',
      'listextract',
      'length_3',
      'substr',
      'hash_2_9',
      'nhash_5_7',
      'eval',
      'lc',
      'md5',
      'base64d',
      'rfc2047d',
      'address',
      'addresses',
      'mask',
      'prvs',
      'prvscheck',
      'srs_encode',
      'inbound_srs',
      'certextract',
      'authresults',
      'imapfolder',
      'listquote',
      'crypteq',
      'jsons',
      '$tls_in_peercert',
      'reverse_ip',
      'expand',
      'h_subject:',
      'domain',
      'local_part',
      'value',
      'item',
      '1',
      '(',
      ')',
      '+',
      '/',
      '-',
      '\xe9',
    );
    const scope = scopeWith({
      address: addressFacts(),
      connection: connectionFacts(),
      message: messageFacts(),
    });
    check(
      property(
        oneof(
          string({ unit: 'binary' }),
          array(pieces, { maxLength: 40 }).map((a) => a.join('')),
        ),
        (source) => {
          const r = now(source, scope);
          assert.ok(['ok', 'error', 'forced-fail', 'defer'].includes(r.kind));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('bound what an expansion may make', () => {
    const big = scopeWith({ extra: new Map([['home', { text: 'x'.repeat(3_000_000), tainted: false }]]) });
    assert.match(text('$home$home', big), /^error: expansion result is longer/);
    assert.match(text('${map{a:b}{$home}}', big), /^error: expansion result is longer/);
    assert.match(text('${sg{aaa}{a}{$home}}', big), /^error: expansion result is longer/);
    assert.equal(text('${strlen:$home}', big), '3000000');
  });

  it('bound how deep ${expand: goes', () => {
    const self = scopeWith({ extra: new Map([['home', { text: '${expand:$home}', tainted: false }]]) });
    assert.match(text('${expand:$home}', self), /nested too deeply/);
  });
});

describe('failures', () => {
  it('keep forced failure, error and delay apart', () => {
    assert.deepEqual(now('${if eq{a}{b}{c}fail}'), {
      kind: 'forced-fail',
      reason: '"if" failed and "fail" requested',
    });
    assert.equal(now('${eval:1/0}').kind, 'error');
    const away = scopeWith({ services: { ...services, lookup: () => ({ kind: 'defer', reason: 'away' }) } });
    assert.deepEqual(now('${lookup{a}lsearch{/f}}', away), { kind: 'defer', reason: 'away' });
    assert.deepEqual(now('${if eq{${lookup{a}lsearch{/f}}}{x}{y}{n}}', away), {
      kind: 'defer',
      reason: 'away',
    });
    assert.equal(now('${map{a:b}{${if eq{1}{2}{x}fail}}}').kind, 'forced-fail');
  });

  it('of a list are delays', () => {
    const away = scopeWith({
      services: { ...services, matchList: () => ({ kind: 'defer', reason: 'away' }) },
    });
    assert.deepEqual(now('${if match_domain{a}{b}{y}{n}}', away), { kind: 'defer', reason: 'away' });
  });
});

describe('condition values', () => {
  it('read as Exim reads them', async () => {
    for (const [value, expected] of [
      ['', false],
      [' no ', false],
      ['FALSE', false],
      ['0', false],
      ['00', true],
      ['yes', true],
      ['${if eq{1}{2}}', false],
      ['${if eq{1}{1}}', true],
    ] as const)
      assert.deepEqual(await expandBoolean(value, scopeWith()), { kind: 'ok', value: expected }, value);
    assert.equal((await expandBoolean('${if eq{1}{2}{y}fail}', scopeWith())).kind, 'forced-fail');
  });
});

describe('lookups', () => {
  /** Answers with the key in brackets, at once or later, but for the key `none`. */
  function answering(late: boolean): { scope: ExpandScope; asked: LookupRequest[] } {
    const asked: LookupRequest[] = [];
    const lookup: ExpandServices['lookup'] = (request) => {
      asked.push(request);
      const answer: LookupAnswer =
        request.key === 'none' ? { kind: 'missing' } : { kind: 'found', value: `[${request.key}]` };
      return late ? Promise.resolve(answer) : answer;
    };
    return { scope: scopeWith({ services: { ...services, lookup }, address: addressFacts() }), asked };
  }

  const lines: readonly (readonly [string, string])[] = [
    ['${lookup{a}lsearch{/f}}', '[a]'],
    ['x${lookup{a}lsearch{/f}}y${lookup{b}lsearch{/f}}z', 'x[a]y[b]z'],
    ['${lookup{none}lsearch{/f}{y}{n}}$value', 'n'],
    ['${lookup{a}lsearch{/f}{${lookup{b}lsearch{/f}{$value}}$value}}', '[b][a]'],
    ['${lookup{a}lsearch{/f}{${lookup{none}lsearch{/f}{y}{$value}}}}', '[a]'],
    ['${uc:${lookup{a}lsearch{/f}}}', '[A]'],
    ['${length{2}{${lookup{a}lsearch{/f}}}}', '[a'],
    ['${if eq{${lookup{a}lsearch{/f}}}{[a]}{y}{n}}', 'y'],
    ['${if eq{[a]}{${lookup{a}lsearch{/f}}}{y}{n}}', 'y'],
    ['${if and{{eq{1}{1}}{eq{${lookup{a}lsearch{/f}}}{x}}}{y}{n}}', 'n'],
    ['${if or{{eq{${lookup{a}lsearch{/f}}}{x}}{match{${lookup{ab}lsearch{/f}}}{a(.)}}}{$1}{n}}', 'b'],
    ['${if forany{a:b}{eq{${lookup{$item}lsearch{/f}}}{[b]}}{y}{n}}$item', 'y'],
    ['${map{a:b}{${lookup{$item}lsearch{/f}}}}', '[a]:[b]'],
    ['${filter{a:none}{eq{${lookup{$item}lsearch{/f}}}{[a]}}}', 'a'],
    ['${reduce{a:b}{}{$value${lookup{$item}lsearch{/f}}}}', '[a][b]'],
    ['${sort{b:a}{lt}{${lookup{$item}lsearch{/f}}}}', 'a:b'],
    ['${sg{ab}{.}{\\${lookup{\\$0\\}lsearch{/f\\}\\}}}', '[a][b]'],
    ['${extract{1}{:}{${lookup{a}lsearch{/f}}:x}}', '[a]'],
    ['${expand:\\${lookup{a\\}lsearch{/f\\}\\}}', '[a]'],
    ['${if !eq{${lookup{a}lsearch{/f}}}{x}{y}{n}}', 'y'],
    ['${lookup{${lookup{none}lsearch{/f}}a}lsearch{/${lookup{none}lsearch{/f}}f}}', '[a]'],
  ];

  for (const late of [false, true])
    it(`flow through everything when they answer ${late ? 'later' : 'at once'}`, async () => {
      const { scope } = answering(late);
      for (const [source, expected] of lines) {
        const r = await expandText(source, scope);
        assert.deepEqual(r, { kind: 'ok', text: expected, tainted: false }, source);
      }
    });

  it('are asked with type, affixes, options and taint', () => {
    const { scope, asked } = answering(false);
    text('${lookup{$local_part}partial3-lsearch*@,ret=key{/f}}${lookup passwd{$local_part}}', scope);
    assert.deepEqual(asked, [
      {
        type: 'lsearch',
        partial: { minimum: 3, affix: '*.' },
        defaultStar: '*@',
        options: ['ret=key'],
        key: 'joe',
        file: '/f',
        fileTainted: false,
        keyTainted: true,
      },
      { type: 'passwd', options: [], key: 'joe', fileTainted: false, keyTainted: true },
    ]);
  });

  it('are refused where there is no driver for the type', () => {
    assert.match(text('${lookup{a}dbm{/f}}'), /^error: lookup type "dbm" is not available/);
  });
});

describe('taint', () => {
  const tainted = (source: string, scope: ExpandScope = wire): boolean | string => {
    const r = now(source, scope);
    return r.kind === 'ok' ? r.tainted : `${r.kind}: ${r.reason}`;
  };

  it('comes with what the wire gave, and flows through items and operators', () => {
    for (const source of [
      '$domain',
      'x$local_part',
      '${lc:$domain}',
      '${if eq{a}{a}{$domain}}',
      '${base64:$domain}',
      '${substr{0}{2}{$domain}}',
      '${tr{$domain}{a}{b}}',
      '${sg{$domain}{a}{b}}',
      '${sg{abc}{b}{$domain}}',
      '${sg{$domain}{(.)}{\\$1}}',
      '${map{$domain}{$item}}',
      '${filter{$domain}{eq{a}{a}}}',
      '${reduce{$domain}{}{$value$item}}',
      '${sort{$domain:a}{lt}{x}}',
      '${extract{1}{.}{$domain}}',
      '${listextract{1}{$domain}}',
      '${if match{$domain}{(.)}{$1}}',
      '${if inlist{example.com}{${lc:$domain}}{$value}}',
      '${listquote{:}{$domain}}',
      '${hash_2:$domain}',
      '$domain${md5:x}',
    ])
      assert.equal(tainted(source), true, source);
  });

  it('does not come from what is only looked at, nor survive what shows nothing of it', () => {
    const scope = scopeWith({
      address: addressFacts({ domainData: 'data' }),
      services: {
        ...services,
        lookup: () => ({ kind: 'found', value: 'v' }),
        matchList: () => ({ kind: 'yes', data: 'd' }),
      },
    });
    for (const source of [
      '$primary_hostname',
      '$domain_data',
      '${if eq{$domain}{x}{y}{n}}',
      '${lookup{$domain}lsearch{/f}}',
      '${lookup{$domain}lsearch{/f}{$value}}',
      '${md5:$domain}',
      '${strlen:$domain}',
      '${eval:${strlen:$domain}+1}',
      '${map{$domain}{x}}',
      '${if inlist{$domain}{Example.COM:example.com}{$value}}',
      '${if match_domain{$domain}{x}{$value}}',
      '${nhash{5}{$domain}}',
      '${hmac{md5}{k}{$domain}}',
      '${sg{abc}{$domain}{x}}',
      '${if match{abc}{(b)}{$1}}',
    ])
      assert.equal(tainted(source, scope), false, source);
  });

  it('forbids file names and second expansion, and says what to use', () => {
    assert.equal(
      tainted('${lookup{x}lsearch{/etc/$domain}}'),
      'error: tainted file name for the lsearch lookup: "/etc/example.com" comes from $domain; use $domain_data instead',
    );
    assert.match(
      String(tainted('${lookup{x}dsearch{/home/${lc:$local_part}}}')),
      /comes from \$local_part; use \$local_part_data/,
    );
    assert.match(String(tainted('${readfile{/etc/$local_part}}')), /tainted file name for readfile/);
    assert.match(String(tainted('${expand:$local_part}')), /attempt to expand tainted string/);
    const dollar = scopeWith({ address: addressFacts({ local: '$pid' }) });
    assert.match(String(tainted('${sg{a}{a}{$local_part}}', dollar)), /attempt to expand tainted string/);
  });

  it('of text that stands before an item is not that of the item', () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-expand-'));
    writeFileSync(path.join(folder, 'f'), 'content');
    assert.equal(text(`$domain \${readfile{${folder}/f}}`, wire), 'example.com content');
    assert.equal(text('$domain ${expand:a}', wire), 'example.com a');
    rmSync(folder, { recursive: true });
  });

  it('of ACL variables is what the ACL noted, and certain where nothing was noted', () => {
    const variables = new Map([
      ['c0', 'v'],
      ['c1', 'w'],
    ]);
    const noted = scopeWith({
      connection: connectionFacts({ variables, taintedVariables: new Set(['c1']) }),
    });
    assert.equal(tainted('$acl_c0', noted), false);
    assert.equal(tainted('$acl_c1', noted), true);
    assert.equal(tainted('$acl_c0', scopeWith({ connection: connectionFacts({ variables }) })), true);
  });

  it('of an ACL message is kept unless the ACL says it is clean', () => {
    const scope = (clean: boolean): ExpandScope =>
      scopeWith({
        address: addressFacts(),
        services: {
          ...services,
          callAcl: (_name, args) => ({
            verdict: 'accept',
            message: args.join(),
            ...(clean ? { tainted: false } : {}),
          }),
        },
      });
    assert.equal(tainted('${acl{a}{x}}', scope(true)), false);
    assert.equal(tainted('${acl{a}{x}}', scope(false)), true);
    assert.equal(tainted('${if acl{{a}{$domain}}{$value}}', scope(false)), true);
    assert.equal(tainted('${if acl{{a}{$domain}}{y}}', scope(false)), false);
  });
});

describe('what an item sets', () => {
  it('is gone after it', () => {
    assert.equal(
      text('${if match{abc}{(b)}{$1}}$1|${map{a}{$item}}$item|${if inlist{a}{a}{$value}}$value'),
      'b|a|a',
    );
    assert.equal(text('${if match{abc}{(b)}{${if match{xyz}{(y)}{$1}}$1}}'), 'yb');
    assert.equal(text('${reduce{a:b}{x}{${map{c}{$item}}$item$value}}'), 'cbcax');
  });

  it('starts from the captures of the scope', () => {
    assert.deepEqual(now('$1$0', scopeWith({ captures: ['all', 'one'] })), {
      kind: 'ok',
      text: 'oneall',
      tainted: true,
    });
  });
});
