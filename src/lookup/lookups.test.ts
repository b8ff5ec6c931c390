import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DriverAnswer, LookupAnswer, LookupDriver, LookupRequest } from './lookup.ts';
import { createLookups } from './lookups.ts';

/** A driver that notes what it is asked. */
function recorder(
  table: Readonly<Record<string, string>>,
  late: boolean,
): { driver: LookupDriver; asked: string[] } {
  const asked: string[] = [];
  const find = (_file: string, key: string, options: readonly string[]): DriverAnswer => {
    asked.push([key, ...options].join(' '));
    const value = table[key];
    return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
  };
  return {
    asked,
    driver: {
      type: 'lsearch',
      style: 'single-key',
      find: late ? (file, key, options) => Promise.resolve(find(file, key, options)) : find,
    },
  };
}

const base: LookupRequest = {
  type: 'lsearch',
  options: [],
  key: 'k',
  file: '/f',
  fileTainted: false,
  keyTainted: true,
};

for (const late of [false, true])
  describe(`lookups with a driver that answers ${late ? 'later' : 'at once'}`, () => {
    async function ask(
      request: Partial<LookupRequest>,
      table: Readonly<Record<string, string>> = {},
    ): Promise<{ answer: LookupAnswer; asked: readonly string[] }> {
      const { driver, asked } = recorder(table, late);
      const answer = await createLookups([driver])({ ...base, ...request });
      return { answer, asked };
    }

    it('tries the keys of a partial lookup in the order of the manual', async () => {
      const partial = { minimum: 2, affix: '*.' };
      const { answer, asked } = await ask({ key: '2250.dates.fict.example', partial });
      assert.deepEqual(answer, { kind: 'missing' });
      assert.deepEqual(asked, [
        '2250.dates.fict.example',
        '*.2250.dates.fict.example',
        '*.dates.fict.example',
        '*.fict.example',
      ]);
    });

    it('gives the wild and the fixed part of a partial match', async () => {
      const partial = { minimum: 2, affix: '*.' };
      const { answer } = await ask({ key: 'a.b.c.d', partial }, { '*.c.d': 'v' });
      assert.deepEqual(answer, { kind: 'found', value: 'v', parts: ['a.b', 'c.d'] });
    });

    it('knows other affixes and the end of partial0', async () => {
      assert.deepEqual((await ask({ key: 'a.b.c', partial: { minimum: 2, affix: '.' } })).asked, [
        'a.b.c',
        '.a.b.c',
        '.b.c',
      ]);
      assert.deepEqual((await ask({ key: 'a.b', partial: { minimum: 1, affix: '' } })).asked, ['a.b', 'b']);
      assert.deepEqual((await ask({ key: 'a.b', partial: { minimum: 0, affix: '*.' } })).asked.at(-1), '*');
      assert.deepEqual((await ask({ key: 'a.b', partial: { minimum: 0, affix: '.' } })).asked.at(-1), '.');
      assert.deepEqual((await ask({ key: 'a.b', partial: { minimum: 0, affix: '' } })).asked.at(-1), 'b');
    });

    it('falls back to the defaults', async () => {
      const { asked } = await ask({ key: 'jane@eyre.example', defaultStar: '*@' });
      assert.deepEqual(asked, ['jane@eyre.example', '*@eyre.example', '*']);
      assert.deepEqual((await ask({ defaultStar: '*' }, { '*': 'd' })).answer, {
        kind: 'found',
        value: 'd',
        parts: ['k', ''],
      });
    });

    it('keeps shared options from the driver', async () => {
      const { answer, asked } = await ask({ options: ['ret=key', 'cache=no_rd', 'ret=full'] }, { k: 'v' });
      assert.deepEqual(asked, ['k ret=full']);
      assert.deepEqual(answer, { kind: 'found', value: 'k' });
    });

    it('asks nothing with an empty key, a tainted or relative file or an unknown type', async () => {
      for (const request of [{ key: '' }, { fileTainted: true }, { file: 'f' }, { type: 'cdb' }]) {
        const { answer, asked } = await ask(request, { '': 'x', k: 'v' });
        assert.equal(answer.kind, 'key' in request ? 'missing' : 'defer');
        assert.deepEqual(asked, []);
      }
    });
  });

describe('answers of drivers', () => {
  const driver = (answer: DriverAnswer): LookupDriver => ({
    type: 'lsearch',
    style: 'single-key',
    find: () => answer,
  });

  it('names the key of what cannot be asked now, and passes on why a file cannot be used', () => {
    assert.deepEqual(createLookups([driver({ kind: 'defer', reason: 'away' })])(base), {
      kind: 'defer',
      reason: 'lookup of "k" gave DEFER: away',
    });
    assert.deepEqual(createLookups([driver({ kind: 'unusable', reason: 'failed to open /f' })])(base), {
      kind: 'defer',
      reason: 'failed to open /f',
    });
  });
});
