import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { isSafeSegment } from '../../mail/mail-location.ts';
import { directoryContract, nameOf } from '../contract.ts';
import type { UserSource } from '../user-source.ts';
import { existingDirectoryUsers } from './existing-directory.ts';

function openRule(root: string, owner = false): UserSource {
  return existingDirectoryUsers({
    pathOf: (name) => (isSafeSegment(name) ? { kind: 'path', path: `${root}/${name}` } : { kind: 'unknown' }),
    root,
    owner,
    home: true,
  });
}

/** Only what a directory can tell: its owner needs root. */
if (process.geteuid?.() === 0)
  directoryContract('static', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'static-'));
    const root = path.join(folder, 'home');
    for (const name of ['alice', 'bob']) mkdirSync(path.join(root, name), { recursive: true });
    chownSync(path.join(root, 'alice'), 1001, 1002);
    chownSync(path.join(root, 'bob'), 1003, 1002);
    const rule = openRule(root, true);
    const source: UserSource = {
      ...rule,
      async find(name) {
        const answer = await rule.find(name);
        if (answer.kind !== 'found') return answer;
        return { kind: 'found', user: { ...answer.user, home: answer.user.home?.replace(folder, '') ?? '' } };
      },
    };
    return {
      open: async () => source,
      breakSource: async () => renameSync(root, `${root}.away`),
      repairSource: async () => renameSync(`${root}.away`, root),
      cleanUp: async () => rmSync(folder, { recursive: true }),
    };
  });

test('what is no directory, cannot be looked at or belongs to root is unavailable; links lead where they lead', async (t) => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'static-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(path.join(root, 'dir'));
  writeFileSync(path.join(root, 'file'), '');
  symlinkSync('dir', path.join(root, 'link'));
  symlinkSync('nowhere', path.join(root, 'dangling'));
  symlinkSync('loop', path.join(root, 'loop'));
  const source = openRule(root);
  assert.equal(nameOf(await source.find('dir')), 'dir');
  assert.equal(nameOf(await source.find('link')), 'link');
  assert.equal(nameOf(await source.find('dangling')), 'unknown');
  for (const name of ['file', 'loop', 'n'.repeat(255)])
    assert.equal(nameOf(await source.find(name)), name.length > 9 ? 'unknown' : 'unavailable', name);
  const below = existingDirectoryUsers({
    pathOf: (name) => ({ kind: 'path', path: `${root}/file/${name}` }),
    root,
    owner: false,
    home: true,
  });
  assert.equal(nameOf(await below.find('x')), 'unavailable');
  const climbing = existingDirectoryUsers({
    pathOf: (name) => ({ kind: 'path', path: `${root}/dir/${name}` }),
    root,
    owner: false,
    home: true,
  });
  for (const name of ['..', '../dir', 'x/../..', '.', 'a\0b'])
    assert.equal(nameOf(await climbing.find(name)), 'unavailable', name);
  if (process.geteuid?.() === 0) assert.equal(nameOf(await openRule(root, true).find('dir')), 'unavailable');
});

test('where the folder of all is gone, nobody is unknown', async () => {
  const source = openRule('/nonexistent/mail');
  assert.deepEqual(await source.find('alice'), {
    kind: 'unavailable',
    reason: '/nonexistent/mail: No such file or directory',
  });
});
