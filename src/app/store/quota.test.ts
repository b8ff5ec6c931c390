import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../../test/support/process.ts';
import type { Logs } from '../../observe/logs.ts';
import type { MailStore } from '../../store/mail-store.ts';
import { loadProgram } from '../program.ts';
import { withStoreQuota } from './quota.ts';

test('quotas leave a store what it can do: it still knows what it holds, and is asked at RCPT only where that is wanted', async (t) => {
  const folder = temporaryFolder('store-quota');
  t.after(() => folder.remove());
  const plain: MailStore = {
    deliver: () => Promise.resolve([]),
    holds: (token) => token === 'there',
    close: () => Promise.resolve(),
  };
  const file = path.join(folder.path, 'conf');
  for (const asked of [true, false]) {
    writeFileSync(
      file,
      'begin directories\nd:\n driver = passwd_file\n file = /x/users\nbegin stores\ns:\n driver = maildir\n maildir = /x\n' +
        ` directories = d\n listen = <; 127.0.0.1:2424\n quota = maildir\n quota_rule = *:storage=1M\n lmtp_rcpt_check_quota = ${asked}\n`,
    );
    const { program } = loadProgram(file, new Map());
    const instance = program?.model.stores[0];
    assert.ok(program !== undefined && instance !== undefined);
    const store = withStoreQuota(plain, instance, program, { main: () => undefined } as unknown as Logs);
    assert.deepEqual([store.holds?.('there'), store.holds?.('gone')], [true, false]);
    assert.equal(store.check !== undefined, asked);
    await store.close();
  }
});
