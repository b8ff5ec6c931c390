/** What every lookup driver promises; each driver's test runs it with files or data of its own. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Awaitable } from '../mail/awaitable.ts';
import type { LookupDriver } from './lookup.ts';

export interface LookupSubject {
  readonly driver: LookupDriver;
  /** File that holds the entry; empty for query styles. */
  readonly file: string;
  readonly present: { readonly key: string; readonly value: string };
  readonly absent: string;
  /** A file that cannot be opened; absent for query styles. */
  readonly unusable?: string;
  /** A query that cannot be answered now; absent for single-key styles. */
  readonly deferred?: string;
}

/** @param open makes the driver and its data; `close` is called at the end */
export function lookupContract(
  name: string,
  open: () => Awaitable<{ readonly subject: LookupSubject; readonly close: () => Awaitable<void> }>,
  skip: string | false = false,
): void {
  describe(`${name}: lookup driver`, { skip }, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    before(async () => {
      opened = await open();
    });
    after(async () => {
      await opened.subject.driver.close?.();
      await opened.close();
    });

    /** Without what only the keeping of answers needs. */
    const ask = async (key: string, file?: string): Promise<{ readonly kind: string }> => {
      const { driver, file: own } = opened.subject;
      const answer = await driver.find(file ?? own, key, []);
      if (answer.kind === 'found')
        return { kind: answer.kind, value: answer.value } as { readonly kind: string };
      return answer.kind === 'missing' ? { kind: answer.kind } : answer;
    };
    const found = (): object => ({ kind: 'found', value: opened.subject.present.value });

    it('finds what is there, again and again', async () => {
      for (let i = 0; i < 3; i++) assert.deepEqual(await ask(opened.subject.present.key), found());
    });

    it('finds it for many who ask at once', async () => {
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask(opened.subject.present.key)));
      for (const answer of answers) assert.deepEqual(answer, found());
    });

    it('says of what is not there that it is missing', async () => {
      assert.deepEqual(await ask(opened.subject.absent), { kind: 'missing' });
    });

    it('takes any octets for a key', async () => {
      const octets = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join('');
      for (const key of [octets, '\0', '\xff', 'x'.repeat(100_000)])
        assert.notEqual((await ask(key)).kind, 'found');
    });

    it('says of a file that cannot be opened why', async () => {
      const { unusable, present } = opened.subject;
      if (unusable === undefined) return;
      const answer = await opened.subject.driver.find(unusable, present.key, []);
      assert.equal(answer.kind, 'unusable');
      assert.ok(answer.kind === 'unusable' && answer.reason.includes(unusable));
    });

    it('says of a query that cannot be answered why', async () => {
      const { deferred } = opened.subject;
      if (deferred === undefined) return;
      const answer = await opened.subject.driver.find('', deferred, []);
      assert.equal(answer.kind, 'defer');
      assert.ok(answer.kind === 'defer' && answer.reason !== '');
      assert.deepEqual(await ask(opened.subject.present.key), found());
    });

    it('answers after close as before', async () => {
      await opened.subject.driver.close?.();
      assert.deepEqual(await ask(opened.subject.present.key), found());
      await opened.subject.driver.close?.();
    });
  });
}
