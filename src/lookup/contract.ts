/** What every lookup driver promises; each driver's test runs it with files or data of its own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LookupDriver } from './lookup.ts';

export interface LookupSubject {
  readonly driver: LookupDriver;
  /** File that holds the entry; empty for query styles. */
  readonly file: string;
  readonly present: { readonly key: string; readonly value: string };
  readonly absent: string;
  /** A file that cannot be opened; absent for query styles. */
  readonly unusable?: string;
}

/** @param open makes the driver and its data; `close` is called at the end */
export function lookupContract(
  name: string,
  open: () => { readonly subject: LookupSubject; readonly close: () => void },
): void {
  describe(`${name}: lookup driver`, () => {
    const { subject, close } = open();
    const { driver, file, present, absent } = subject;

    it('finds what is there, again and again', async () => {
      for (let i = 0; i < 3; i++)
        assert.deepEqual(await driver.find(file, present.key, []), { kind: 'found', value: present.value });
    });

    it('says of what is not there that it is missing', async () => {
      assert.deepEqual(await driver.find(file, absent, []), { kind: 'missing' });
    });

    it('takes any octets for a key', async () => {
      const octets = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join('');
      for (const key of [octets, '\0', '\xff', 'x'.repeat(100_000)])
        assert.notEqual((await driver.find(file, key, [])).kind, 'found');
    });

    it('says of a file that cannot be opened why', async () => {
      if (subject.unusable === undefined) return;
      const answer = await driver.find(subject.unusable, present.key, []);
      assert.equal(answer.kind, 'unusable');
      assert.ok(answer.kind === 'unusable' && answer.reason.includes(subject.unusable));
    });

    it('answers after close as before', async () => {
      await driver.close?.();
      assert.deepEqual(await driver.find(file, present.key, []), { kind: 'found', value: present.value });
      await driver.close?.();
      close();
    });
  });
}
