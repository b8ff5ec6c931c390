import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../../test/support/process.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { UsageSource } from '../../store/quota/usage.ts';
import { loadProgram } from '../program.ts';
import { quotaPolicies } from './quota-policy.ts';

const source = (counts: 'stored' | 'virtual', countsMessages = true): UsageSource => ({
  counts,
  countsMessages,
  keeps: true,
  key: ({ username }) => username,
  kept: () => undefined,
  count: () => Promise.reject(new Error('not here')),
  add: () => undefined,
  close: () => undefined,
});
const maildir = new Map([
  ['maildir', source('stored')],
  ['count', source('virtual')],
]);

/** What the users get: limits and grace, or why there is nothing. */
async function policies(
  options: string,
  users: readonly MailUser[],
  sources: ReadonlyMap<string, UsageSource> = maildir,
): Promise<string[]> {
  const folder = temporaryFolder('quota-policy');
  try {
    const file = path.join(folder.path, 'conf');
    const driver = sources.has('dirsize')
      ? 'mbox\n  mbox = /x/$local_part_data'
      : 'maildir\n  maildir = /x/$local_part_data';
    writeFileSync(
      file,
      `begin directories\nd:\n  driver = passwd_file\n  file = /x/users\nbegin stores\ns:\n  driver = ${driver}\n  directories = d\n  listen = <; 127.0.0.1:2424\n${options}`,
    );
    const { program, diagnostics } = loadProgram(file, new Map());
    if (program === undefined) throw new Error(diagnostics.map((d) => d.message).join('; '));
    const [instance] = program.model.stores;
    if (instance === undefined) throw new Error('no store');
    const policyOf = quotaPolicies(instance, program, sources);
    const told: string[] = [];
    for (const user of users) {
      const answer = await policyOf(user);
      if (answer.kind !== 'policy') told.push(answer.kind === 'none' ? 'none' : answer.reason);
      else {
        const { rules, source: s, maxMailBytes, exceededText, enforced } = answer.policy;
        const { bytes, messages } = rules.limits;
        told.push(
          `${s.counts} ${bytes} ${messages} ${rules.folders.map((f) => f.mask).join(',')} ${maxMailBytes} ${exceededText}${enforced ? '' : ' free'}`,
        );
      }
    }
    return told;
  } finally {
    folder.remove();
  }
}

const user = (username: string, extra: Record<string, string> = {}): MailUser => ({ username, extra });

test('fields of the user take the place of the options of their name and number', async () => {
  const options = `  quota = maildir:User quota
  quota_rule = *:bytes=1000
  quota_rule = Trash:bytes=+10%
  quota_max_mail_size = 2K
  quota_exceeded_message = full
`;
  assert.deepEqual(
    await policies(options, [
      user('plain', { groups: 'x' }),
      user('first', { quota_rule: '*:bytes=5' }),
      user('second', { quota_rule2: 'Junk:ignore', quota_rule3: 'More:ignore', quota_rule5: 'Never:ignore' }),
      user('count', {
        quota: 'count:x:noenforcing',
        quota_max_mail_size: '1M',
        quota_exceeded_message: 'own',
      }),
      user('without', { quota: '' }),
      user('bad', { quota_rule: '*:bytes=1X' }),
      user('odd', { quota: 'dict:x' }),
      user('large', { quota_max_mail_size: 'x' }),
      user('two', { quota2: 'maildir:x' }),
    ]),
    [
      'stored 1000 0 Trash 2048 full',
      'stored 5 0 Trash 2048 full',
      'stored 1000 0 Junk,More 2048 full',
      'virtual 1000 0 Trash 1048576 own free',
      'none',
      'quota_rule: "*:bytes=1X": bytes: "X" is not a unit',
      'quota: "dict" cannot count here, only maildir or count',
      'quota_max_mail_size: "x" is not a size',
      'quota2: a second quota of a user is not supported',
    ],
  );
});

test('options are expanded for each user, fields of the user are not', async () => {
  const options = `  quota = maildir
  quota_rule = \${if eq{$domain_data}{big.test}{*:bytes=9}{*:bytes=3}}
  quota_rule = \${if eq{$local_part_data}{odd}{\${if}}{Trash:ignore}}
  quota_exceeded_message = full: $local_part_data
`;
  await assert.rejects(policies(options, []), /quota_rule/);
  assert.deepEqual(
    await policies(options.replace('{${if}}', '{x}'), [
      user('a@big.test'),
      user('b@small.test'),
      user('odd@big.test'),
      user('c', { quota_rule: '*:bytes=${if' }),
      user('d', { quota_rule: '*:bytes=7' }),
    ]),
    [
      'stored 9 0 Trash 0 full: a',
      'stored 3 0 Trash 0 full: b',
      'quota_rule: "x" has no colon after the folder',
      'quota_rule: "*:bytes=${if": bytes: "${if" is not a number',
      'stored 7 0 Trash 0 full: d',
    ],
  );
});

test('mbox files count octets, and no limit of messages is taken for them', async () => {
  const mbox = new Map([['dirsize', source('stored', false)]]);
  assert.deepEqual(
    await policies(
      '  quota = dirsize\n  quota_rule = *:bytes=10\n',
      [user('a'), user('b', { quota_rule: '*:messages=10' })].slice(0, 2),
      mbox,
    ),
    [
      'stored 10 0  0 Quota exceeded (mailbox for user is full)',
      'quota_rule: messages are not counted in mbox files, only octets',
    ],
  );
  await assert.rejects(
    policies('  quota = dirsize\n  quota_rule = *:messages=10\n', [], mbox),
    /messages are not counted/,
  );
});
