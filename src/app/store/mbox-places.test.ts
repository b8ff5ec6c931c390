import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { formatDiagnostic } from '../../mail/diagnostic.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import { loadProgram } from '../program.ts';
import { mboxPlaces } from './mbox-places.ts';

function load(t: TestContext, options: string): ReturnType<typeof loadProgram> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mbox-places-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'conf');
  writeFileSync(
    file,
    `begin directories\nu:\n driver = passwd_file\n file = /dev/null\nbegin stores\nbox:\n driver = mbox\n directories = u\n sockets = ${folder}/lmtp\n${options}\n`,
  );
  return loadProgram(file, new Map());
}

function placesOf(t: TestContext, options: string): ReturnType<typeof mboxPlaces> {
  const { program, diagnostics } = load(t, options);
  assert.deepEqual(diagnostics.map(formatDiagnostic), []);
  const store = program?.model.stores[0];
  assert.ok(program !== undefined && store?.driver === 'mbox');
  return mboxPlaces(store.options, program);
}

function user(username: string, more: Partial<MailUser> = {}): MailUser {
  return { username, extra: {}, ...more };
}

test('by the options', async (t) => {
  const places = placesOf(t, ' mbox = /var/mail/$local_part_data\n mbox_folders = $home/mail');
  const alice = user('alice', { home: '/home/alice' });
  assert.deepEqual(await places(alice), { inbox: '/var/mail/alice', folders: '/home/alice/mail' });
  assert.equal(places(alice), places(alice), 'kept with the user');
  assert.ok('refused' in (await places(user('..'))));
  assert.ok('refused' in (await places(user('a/b'))));
  assert.ok('refused' in (await places(user('alice'))), 'no home: no absolute path');
  assert.deepEqual(await placesOf(t, ' mbox = /var/mail/$local_part_data')(user('alice')), {
    inbox: '/var/mail/alice',
  });
  assert.ok('refused' in (await placesOf(t, '')(user('alice'))));
});

test("by a user's own mail field, as Dovecot reads it", async (t) => {
  const places = placesOf(t, ' mbox = /var/mail/$local_part_data');
  const own = async (mail: string): Promise<unknown> =>
    places(user('alice@a.test', { home: '/home/alice', extra: { mail } }));
  assert.deepEqual(await own('mbox:~/mail:INBOX=/var/mail/%d/%n'), {
    inbox: '/var/mail/a.test/alice',
    folders: '/home/alice/mail',
  });
  assert.deepEqual(await own('mbox:/m/%u'), { inbox: '/m/alice@a.test/inbox', folders: '/m/alice@a.test' });
  for (const no of [
    'mdbox:~/mail',
    'mbox:~/mail:INDEX=/x',
    'mbox:~/mail:LAYOUT=maildir++',
    'mbox:mail',
    'mbox:',
  ])
    assert.ok('refused' in ((await own(no)) as object), no);
  assert.ok('refused' in (await places(user('alice', { maildir: '/m' }))));
});

test('locks that do not exist are refused where they stand', (t) => {
  for (const locks of ['lockf', 'fcntl : dot', '']) {
    const { program, diagnostics } = load(t, ` mbox = /m/$local_part_data\n mbox_write_locks = ${locks}`);
    assert.equal(program, undefined);
    assert.match(
      diagnostics.map(formatDiagnostic).join('\n'),
      /conf:11.*mbox_write_locks must name some of/s,
      locks,
    );
  }
});
