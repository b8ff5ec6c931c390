/** A Maildir store with quotas is a mail store like any other, and counts what lies there. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { maildirMessages } from '../../../test/support/maildir.ts';
import { temporaryFolder } from '../../../test/support/process.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import { isSafeSegment } from '../../mail/mail-location.ts';
import { deliveryTo, mailStoreContract, memoryContent } from '../contract.ts';
import { openMaildirStore } from '../drivers/maildir/maildir.ts';
import type { MailStore } from '../mail-store.ts';
import { quotaAccounts } from './accounts.ts';
import { maildirsizeSource } from './maildirsize-source.ts';
import { readQuotaRules } from './rules.ts';
import { scanSource } from './scan-source.ts';
import type { UsageSource } from './usage.ts';
import { withQuota } from './with-quota.ts';

const never = new AbortController().signal;

function open(
  mail: string,
  rule: string,
  makeSource: typeof scanSource,
  problems: string[] = [],
  owner?: { readonly uid: number; readonly gid: number },
): MailStore {
  const source: UsageSource = makeSource({
    locate(user) {
      const { maildir } = user;
      if (maildir === undefined) throw new Error('no Maildir');
      return { path: maildir, layout: 'maildir++' };
    },
    ownerOf: () => owner,
  });
  const rules = readQuotaRules([rule], undefined);
  if (rules.kind === 'refused') throw new Error(rules.reason);
  const policy = {
    rules: rules.value,
    source,
    enforced: true,
    warnings: [],
    maxMailBytes: 0,
    exceededText: 'full',
  };
  const store = withQuota(openMaildirStore({ location: `maildir:${mail}/%u`, fsync: 'never', ...owner }), {
    policyOf: () => ({ kind: 'policy', policy }),
    accounts: quotaAccounts(),
    onWarning: () => undefined,
    onProblem: (text) => problems.push(text),
  });
  return {
    ...store,
    async close() {
      await store.close();
      source.close();
    },
  };
}

for (const [name, makeSource] of [
  ['maildirsize', maildirsizeSource],
  ['count', scanSource],
] as const)
  mailStoreContract(`quota by ${name}`, async (within = os.tmpdir()) => {
    const folder = mkdtempSync(path.join(within, 'quota-contract-'));
    const mail = path.join(folder, 'mail');
    mkdirSync(mail);
    const userOf = (username: string): MailUser => ({
      username,
      extra: {},
      ...(isSafeSegment(username) ? { maildir: path.join(mail, username) } : {}),
    });
    return {
      open: async () => open(mail, '*:bytes=1G', makeSource),
      user: userOf,
      read: async (user) =>
        maildirMessages(path.join(mail, user)).map((text) => text.replaceAll('\n', '\r\n')),
      breakUser: async (user) => writeFileSync(path.join(mail, user), 'no folder'),
      strays: async () => readdirSync(folder).filter((entry) => entry !== 'mail'),
      cleanUp: async () => rmSync(folder, { recursive: true }),
    };
  });

test('the file is written anew when somebody removes it, and whole messages are never lost to a broken one', async () => {
  const folder = temporaryFolder('quota-file');
  try {
    const problems: string[] = [];
    const store = open(folder.path, '*:bytes=1G:messages=100', maildirsizeSource, problems);
    const maildir = path.join(folder.path, 'u');
    const file = path.join(maildir, 'maildirsize');
    const deliver = async (): Promise<string | undefined> => {
      const to = deliveryTo([{ username: 'u', maildir, extra: {} }], memoryContent('Subject: x\r\n\r\n'));
      return (await store.deliver(to, never))[0]?.kind;
    };
    for (let i = 0; i < 3; i++) assert.equal(await deliver(), 'stored');
    const size = (): number =>
      readdirSync(path.join(maildir, 'new'))
        .map((n) => readFileSync(path.join(maildir, 'new', n)).length)
        .reduce((a, b) => a + b, 0);
    assert.equal(
      readFileSync(file, 'latin1'),
      `1073741824S,100C\n${size() / 3} 1\n${`${size() / 3} 1\n`.repeat(2)}`,
    );
    rmSync(file);
    await deliver();
    assert.match(
      readFileSync(file, 'latin1'),
      new RegExp(`^1073741824S,100C\n${(size() / 4) * 3} 3\n${size() / 4} 1\n$`),
    );
    // A file of the same length in its place, its inode perhaps as well.
    const text = readFileSync(file, 'latin1');
    rmSync(file);
    writeFileSync(file, text.replace(/ 1\n$/, ' 7\n'));
    await deliver();
    assert.equal(readFileSync(file, 'latin1'), `${text.replace(/ 1\n$/, ' 7\n')}${size() / 5} 1\n`);
    // Refused for want of a figure, and nothing of it lies there.
    rmSync(file);
    mkdirSync(file);
    assert.equal(await deliver(), 'unavailable');
    assert.equal(readdirSync(path.join(maildir, 'new')).length, 5);
    assert.deepEqual(problems, []);
    rmSync(file, { recursive: true });
    assert.equal(await deliver(), 'stored');
    assert.deepEqual(readdirSync(path.join(maildir, 'tmp')), []);
    await store.close();
    assert.ok(existsSync(file));
  } finally {
    folder.remove();
  }
});

test('as root nothing of the user leads to files of others', {
  skip: process.geteuid?.() !== 0 && 'needs root',
}, async () => {
  const folder = temporaryFolder('quota-links');
  try {
    const store = open(folder.path, '*:bytes=1G', maildirsizeSource, [], { uid: 12_345, gid: 12_346 });
    const maildir = path.join(folder.path, 'u');
    const file = path.join(maildir, 'maildirsize');
    const victim = path.join(folder.path, 'victim');
    const text = '1073741824S\n0 0\n';
    writeFileSync(victim, text);
    const deliver = async (): Promise<string | undefined> => {
      const to = deliveryTo([{ username: 'u', maildir, extra: {} }], memoryContent('Subject: x\r\n\r\n'));
      return (await store.deliver(to, never))[0]?.kind;
    };
    assert.equal(await deliver(), 'stored');
    const { uid, gid, mode } = statSync(file);
    assert.deepEqual([uid, gid, mode & 0o777], [12_345, 12_346, 0o600]);
    const tricks: readonly (() => void)[] = [
      () => symlinkSync(victim, file),
      () => linkSync(victim, file),
      () => execFileSync('/usr/bin/mkfifo', [file]),
      () => {
        renameSync(path.join(maildir, 'tmp'), path.join(maildir, 'kept'));
        symlinkSync(folder.path, path.join(maildir, 'tmp'));
      },
    ];
    for (const trick of tricks) {
      rmSync(file);
      trick();
      assert.equal(await deliver(), 'unavailable');
      assert.equal(readFileSync(victim, 'latin1'), text);
      assert.equal(statSync(victim).uid, 0);
      rmSync(file, { force: true });
      if (existsSync(path.join(maildir, 'kept'))) {
        rmSync(path.join(maildir, 'tmp'));
        renameSync(path.join(maildir, 'kept'), path.join(maildir, 'tmp'));
      }
      assert.equal(await deliver(), 'stored');
    }
    assert.deepEqual(readdirSync(folder.path).sort(), ['u', 'victim']);
    await store.close();
  } finally {
    folder.remove();
  }
});
