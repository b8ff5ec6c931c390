// Each driver against the contract, and what is peculiar to it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, it } from 'node:test';
import { assert as check, constantFrom, nat, property, string, uint8Array } from 'fast-check';
import { compileRegex } from '../../expand/regex.ts';
import { lookupContract, type LookupSubject } from '../contract.ts';
import { cdbFile } from '../../../test/support/cdb-file.ts';
import { createCdb } from './cdb.ts';
import { createDsearch } from './dsearch.ts';
import { createJson } from './json.ts';
import { readEntries, type Entry } from './line-file.ts';
import { createLsearch } from './lsearch.ts';
import { createPasswd } from './passwd.ts';
import { createSqlite, floatText } from './sqlite.ts';
import { createIplsearch, createNwildlsearch, createWildlsearch, type WildServices } from './wildlsearch.ts';

const folders: string[] = [];
function folder(): string {
  const f = mkdtempSync(path.join(os.tmpdir(), 'mailchute-lookup-'));
  folders.push(f);
  return f;
}
after(() => {
  for (const f of folders) rmSync(f, { recursive: true, force: true });
});

function fileOf(text: string): string {
  const file = path.join(folder(), 'data');
  writeFileSync(file, text, 'latin1');
  return file;
}

const services: WildServices = {
  matchRegex(pattern, subject) {
    const regex = compileRegex(pattern, { caseless: true });
    return regex.kind === 'error' ? regex.reason : regex.match(subject) !== undefined;
  },
  expandKey: (key) => (key.includes('$bad') ? undefined : key.replace('$name', 'carol')),
};

const contracts: Readonly<Record<string, () => LookupSubject>> = {
  lsearch: () => ({
    driver: createLsearch(),
    file: fileOf('# users\nalice: one\nbob: two\n'),
    present: { key: 'bob', value: 'two' },
    absent: 'carol',
    unusable: '/nonexistent/file',
  }),
  nwildlsearch: () => ({
    driver: createNwildlsearch(services),
    file: fileOf('*.example.com: suffix\n^x\\d+$: regex\n'),
    present: { key: 'x12', value: 'regex' },
    absent: 'y12',
    unusable: '/nonexistent/file',
  }),
  wildlsearch: () => ({
    driver: createWildlsearch(services),
    file: fileOf('$bad: never\n$name: expanded\n'),
    present: { key: 'Carol', value: 'expanded' },
    absent: 'dave',
    unusable: '/nonexistent/file',
  }),
  iplsearch: () => ({
    driver: createIplsearch(),
    file: fileOf('192.0.2.0/24: net\n"2001:db8::/32": six\nnonsense: x\n192.0.2.0/99: y\n'),
    present: { key: '2001:db8::7', value: 'six' },
    absent: '198.51.100.1',
    unusable: '/nonexistent/file',
  }),
  dsearch: () => {
    const dir = folder();
    writeFileSync(path.join(dir, 'entry'), '');
    return {
      driver: createDsearch(),
      file: dir,
      present: { key: 'entry', value: 'entry' },
      absent: 'other',
      unusable: '/nonexistent/folder',
    };
  },
  json: () => ({
    driver: createJson(),
    file: fileOf('{"a": {"b": ["x", {"c": 1}]}}'),
    present: { key: 'a:b:1', value: '{"c":1}' },
    absent: 'a:c',
    unusable: '/nonexistent/file',
  }),
  cdb: () => {
    const file = path.join(folder(), 'data.cdb');
    const records = Array.from({ length: 1000 }, (_, i) => [`key${i}`, `value${i}`] as const);
    writeFileSync(file, cdbFile([...records, ['caf\xe9', 'octets\n\0\xff'], ['key1', 'second']]));
    return {
      driver: createCdb(),
      file,
      present: { key: 'caf\xe9', value: 'octets\n\0\xff' },
      absent: 'key1000',
      unusable: '/nonexistent/data.cdb',
    };
  },
  sqlite: () => {
    const file = path.join(folder(), 'data.db');
    const database = new DatabaseSync(file);
    database.exec("create table t(a text, b text); insert into t values ('x', 'caf\u00e9')");
    database.close();
    return {
      driver: createSqlite({ file }),
      file: '',
      present: { key: "select b from t where a='x'", value: 'caf\xc3\xa9' },
      absent: "select b from t where a='y'",
      deferred: 'nonsense',
    };
  },
  passwd: () => ({
    driver: createPasswd(fileOf('joe:x:1000:1000:Joe:/home/joe:/bin/sh\nbroken\n')),
    file: '',
    present: { key: 'joe', value: '*:1000:1000:Joe:/home/joe:/bin/sh' },
    absent: 'jane',
  }),
};
for (const [name, open] of Object.entries(contracts))
  lookupContract(name, () => ({ subject: open(), close: () => undefined }));

describe('lsearch', () => {
  it('sees a changed file', () => {
    const file = fileOf('a: 1\n');
    const driver = createLsearch({ freshMs: 0 });
    assert.deepEqual(driver.find(file, 'a', []), { kind: 'found', value: '1' });
    writeFileSync(file, 'a: 2\n');
    utimesSync(file, 1, 1);
    assert.deepEqual(driver.find(file, 'a', []), { kind: 'found', value: '2' });
    rmSync(file);
    assert.deepEqual(driver.find(file, 'a', []), {
      kind: 'unusable',
      reason: `failed to open ${file} for linear search: No such file or directory`,
    });
  });

  it('holds no more files than it may', () => {
    const driver = createLsearch({ freshMs: 0, maxFiles: 2, maxTotalOctets: 100 });
    for (const n of ['1', '2', '3', '4']) {
      const file = fileOf(`a: ${n}\n`);
      assert.deepEqual(driver.find(file, 'a', []), { kind: 'found', value: n });
    }
  });

  it('refuses a folder and a file that is too large', async () => {
    const driver = createLsearch({ maxFileOctets: 3 });
    const dir = folder();
    assert.deepEqual(driver.find(dir, 'a', []), {
      kind: 'unusable',
      reason: `${dir} is not a regular file (lsearch lookup)`,
    });
    assert.equal((await driver.find(fileOf('a: 1\n'), 'a', [])).kind, 'unusable');
  });

  it('reads continuations up to a comment or an empty line, quoted keys and the first of two entries', () => {
    const file = fileOf('a: 1,\n  2,\n\t3\n# c\n  4\n\n  5\n"b c": 4\n"d\\"\\x41": 5\ne\na: no\n  f: 6');
    const driver = createLsearch();
    const get = (key: string): unknown => driver.find(file, key, []);
    assert.deepEqual(get('A'), { kind: 'found', value: '1, 2, 3' });
    assert.deepEqual(get('b c'), { kind: 'found', value: '4' });
    assert.deepEqual(get('d"A'), { kind: 'found', value: '5' });
    assert.deepEqual(get('e'), { kind: 'found', value: '' });
    assert.deepEqual(get('f'), { kind: 'missing' });
    assert.deepEqual(driver.find(file, 'e', ['ret=full']), { kind: 'found', value: 'e' });
  });

  it('reads any text, and every entry written in the plain form', () => {
    check(
      property(
        string({ unit: constantFrom('a', 'B', ':', ' ', '\n', '\t', '#', '"', '\\', '\xe9') }),
        (text) => {
          readEntries(text, (e) => assert.equal(typeof e.data, 'string'));
          const entries: Entry[] = [];
          readEntries(`plainkey: value\n${text.replace(/^\s+/, '')}`, (e) => void entries.push(e));
          assert.equal(entries[0]?.key, 'plainkey');
        },
      ),
    );
  });
});

describe('cdb', () => {
  it('finds every record, of equal keys the first, and sees a new file', () => {
    const file = path.join(folder(), 'data.cdb');
    writeFileSync(
      file,
      cdbFile([...Array.from({ length: 300 }, (_, i) => [`k${i}`, `v${i}`] as const), ['k1', 'no']]),
    );
    const driver = createCdb();
    for (let i = 0; i < 300; i++)
      assert.deepEqual(driver.find(file, `k${i}`, []), { kind: 'found', value: `v${i}` });
    const next = `${file}.new`;
    writeFileSync(next, cdbFile([['k1', 'changed']]));
    renameSync(next, file);
    assert.deepEqual(driver.find(file, 'k1', []), { kind: 'found', value: 'changed' });
    assert.deepEqual(driver.find(file, 'k2', []), { kind: 'missing' });
  });

  it('says of any file that is no cdb what is wrong, and never throws', () => {
    const file = path.join(folder(), 'data.cdb');
    const good = cdbFile([['a', 'b']]);
    check(
      property(uint8Array({ maxLength: 2100 }), nat(2100), (octets, at) => {
        const broken = Buffer.from(good);
        broken.set(octets.subarray(0, Math.max(0, broken.length - at)), Math.min(at, broken.length));
        for (const content of [broken, Buffer.from(octets)]) {
          rmSync(file, { force: true });
          writeFileSync(file, content);
          const driver = createCdb();
          const { kind } = driver.find(file, 'a', []) as { readonly kind: string };
          void driver.close?.();
          assert.ok(['found', 'missing', 'defer', 'unusable'].includes(kind));
        }
      }),
      { numRuns: 50 },
    );
    writeFileSync(file, 'short');
    assert.deepEqual(createCdb().find(file, 'a', []), {
      kind: 'unusable',
      reason: `${file} is too short for a cdb file`,
    });
  });
});

describe('sqlite', () => {
  it('waits for a lock no longer than it may, and lets others go on meanwhile', async () => {
    const file = path.join(folder(), 'data.db');
    const database = new DatabaseSync(file);
    database.exec("create table t(a text); insert into t values ('x'); begin exclusive");
    const driver = createSqlite({ file, lockTimeoutMs: 100 });
    const blocked = driver.find('', 'select a from t', []);
    assert.deepEqual(await blocked, { kind: 'defer', reason: 'sqlite: database is locked' });
    const waiting = createSqlite({ file, lockTimeoutMs: 20_000 }).find('', 'select a from t', []);
    database.exec('commit');
    assert.deepEqual(await waiting, { kind: 'found', value: 'x' });
    database.close();
  });

  it('takes no file from a query that holds quoted text from the wire', async () => {
    const answer = await createSqlite().find('', '/tmp/x.db select 1', [], true);
    assert.equal(answer.kind, 'unusable');
  });

  it('writes numbers as SQLite does', () => {
    const rows = [
      [1.5, '1.5'],
      [100, '100.0'],
      [-0.000012, '-1.2e-05'],
      [0.0001, '0.0001'],
      [1e15, '1.0e+15'],
      [123456789.125, '123456789.125'],
    ] as const;
    for (const [value, text] of rows) assert.equal(floatText(value), text);
  });
});

describe('dsearch', () => {
  it('filters by kind of entry and gives the full path', () => {
    const dir = folder();
    writeFileSync(path.join(dir, 'file'), '');
    mkdirSync(path.join(dir, 'sub'));
    symlinkSync('nowhere', path.join(dir, 'link'));
    const find = (key: string, ...options: string[]): string => {
      const r = createDsearch().find(dir, key, options);
      return r instanceof Promise ? 'promise' : r.kind === 'found' ? r.value : r.kind;
    };
    assert.equal(find('link'), 'link');
    assert.equal(find('file', 'ret=full'), `${dir}/file`);
    assert.equal(find('file', 'filter=dir'), 'missing');
    assert.equal(find('sub', 'filter=dir'), 'sub');
    assert.equal(find('.', 'filter=dir'), '.');
    assert.equal(find('..', 'filter=subdir'), 'missing');
    assert.equal(find('sub', 'filter=file'), 'missing');
    assert.equal(find('../x'), 'defer');
    assert.equal(find('file', 'filter=x'), 'unusable');
  });
});

describe('json', () => {
  it('gives strings bare, parts as JSON, and says of a malformed file why', async () => {
    const file = fileOf('{"s": "caf\xc3\xa9", "n": 1.5, "__proto__x": null}');
    const find = (key: string): unknown => createJson().find(file, key, []);
    assert.deepEqual(find('s'), { kind: 'found', value: 'caf\xc3\xa9' });
    assert.deepEqual(find('n'), { kind: 'found', value: '1.5' });
    assert.deepEqual(find('toString'), { kind: 'missing' });
    assert.equal((await createJson().find(fileOf('{'), 'a', [])).kind, 'defer');
  });
});
