import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeptAnswers } from './kept-answers.ts';
import type { DriverAnswer, LookupDriver } from './lookup.ts';

function driver(keepMs: (key: string) => number): LookupDriver {
  return { type: 'x', style: 'query', keepMs, find: () => ({ kind: 'missing' }) };
}

/** A clock that stands, answers that count. */
function world(maxEntries?: number) {
  let now = 0;
  let asked = 0;
  const kept = createKeptAnswers(maxEntries, () => now);
  const reading = driver((key) => (key.startsWith('w') ? 0 : 1000));
  const get = async (key: string, answer?: DriverAnswer, read = true): Promise<number> => {
    const got = await kept.get(reading, key, [], read, () => {
      asked++;
      return Promise.resolve(answer ?? { kind: 'found', value: String(asked) });
    });
    return got.kind === 'found' ? Number(got.value) : -1;
  };
  return { get, asked: () => asked, pass: (ms: number) => void (now += ms) };
}

describe('kept answers', () => {
  it('are given for their time, and asked anew after it', async () => {
    const w = world();
    assert.deepEqual([await w.get('a'), await w.get('a'), await w.get('b'), await w.get('a')], [1, 1, 2, 1]);
    w.pass(999);
    assert.equal(await w.get('a'), 1);
    w.pass(1);
    assert.equal(await w.get('a'), 3);
  });

  it('hold as long as the answer itself says', async () => {
    const w = world();
    await w.get('a', { kind: 'found', value: '9', keepMs: 5000 });
    w.pass(4999);
    assert.equal(await w.get('a'), 9);
    w.pass(1);
    assert.equal(await w.get('a'), 2);
  });

  it('are shared by those who ask at once', async () => {
    const w = world();
    assert.deepEqual(await Promise.all([w.get('a'), w.get('a'), w.get('a')]), [1, 1, 1]);
  });

  it('are forgotten by what may change data', async () => {
    const w = world();
    await w.get('a');
    await w.get('w');
    assert.equal(await w.get('w'), 3);
    assert.equal(await w.get('a'), 4);
  });

  it('are not read with cache=no_rd, but replaced', async () => {
    const w = world();
    assert.deepEqual([await w.get('a'), await w.get('a', undefined, false), await w.get('a')], [1, 2, 2]);
  });

  it('do not include that there was none', async () => {
    const w = world();
    await w.get('a', { kind: 'defer', reason: 'away' });
    assert.equal(await w.get('a'), 2);
  });

  it('are no more than the bound', async () => {
    const w = world(2);
    for (const key of ['a', 'b', 'c']) await w.get(key);
    assert.deepEqual([await w.get('c'), await w.get('b'), await w.get('a')], [3, 2, 4]);
  });
});
