import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { expandServices, mainFacts } from '../../../test/support/routing-world.ts';
import { temporaryFolder } from '../../../test/support/process.ts';
import { createLocalUsers } from '../../router/drivers/local-machine.ts';
import type { Identity } from '../../transport/drivers/local/identity.ts';
import { DeliveryStop } from './expand-options.ts';
import { identityFor, type UserOptions } from './local-user.ts';

const folder = temporaryFolder('local-user');
after(() => folder.remove());
chmodSync(folder.path, 0o755);
const passwd = path.join(folder.path, 'passwd');
const group = path.join(folder.path, 'group');
writeFileSync(
  passwd,
  'root:x:0:0::/root:\nann:x:1001:1001::/home/ann:\nbob:x:1002:100::/home/bob:\ncat:x:1004:100::/home/cat:\n',
);
writeFileSync(group, 'root:x:0:\nmail:x:8:\nusers:x:100:\n');
const users = createLocalUsers(passwd, group);
const root = process.geteuid?.() === 0;

async function who(
  options: Partial<UserOptions>,
  settled?: Parameters<typeof identityFor>[2],
): Promise<Identity | string> {
  const scope = {
    main: mainFacts,
    services: expandServices(),
    address: { local: 'ann', domain: 'a.test', localPartData: 'cat' },
  };
  try {
    return await identityFor('t', { initgroups: false, ...options }, settled, scope, ['bob'], users);
  } catch (stop) {
    assert.ok(stop instanceof DeliveryStop && stop.outcome.kind === 'deferred');
    return stop.outcome.status.text;
  }
}

const ann = { uid: 1001, gid: 1001, name: 'ann', initgroups: false };

test('the transport goes before the router, and a group may come alone', {
  skip: !root && 'needs root',
}, async () => {
  assert.deepEqual(await who({}, ann), { uid: 1001, gid: 1001 });
  assert.deepEqual(await who({ group: 'mail' }, ann), { uid: 1001, gid: 8 });
  assert.deepEqual(await who({ user: '1003', group: '100' }, ann), { uid: 1003, gid: 100 });
  assert.deepEqual(await who({ user: '$local_part_data', group: '7' }), { uid: 1004, gid: 7 });
  assert.deepEqual(await who({ user: '1004', initgroups: true }), { uid: 1004, gid: 100, initgroups: 'cat' });
  assert.deepEqual(await who({}, { ...ann, initgroups: true }), { uid: 1001, gid: 1001, initgroups: 'ann' });
});

test('nothing runs as root, nor as whom the wire names', { skip: !root && 'needs root' }, async () => {
  assert.match(JSON.stringify(await who({})), /no user is given for t transport/);
  assert.match(JSON.stringify(await who({ group: 'mail' })), /no user is given/);
  for (const user of ['root', '0', '00'])
    assert.equal(
      await who({ user, group: '5' }),
      'User 0 set for t transport is on the fixed_never_users list',
      user,
    );
  assert.equal(
    await who({}, { uid: 0, gid: 0, initgroups: false }),
    'User 0 set for t transport is on the fixed_never_users list',
  );
  assert.equal(await who({ user: '$local_part' }), "Tainted 'ann' (user for t transport) not permitted");
  for (const user of ['bob', '1002'])
    assert.equal(await who({ user }), 'User 1002 set for t transport is on the never_users list');
  assert.equal(await who({ user: 'nobody-here' }), 'user "nobody-here" not found for t transport');
  assert.equal(await who({ user: '4711' }), 'User set without group for t transport');
  assert.equal(await who({ user: 'ann', group: 'nope' }), 'group "nope" not found for t transport');
  assert.match(
    JSON.stringify(await who({ user: '${if' })),
    /^"Expansion of \\"\$\{if\\" \(user for t transport\) failed/,
  );
});

test('without the rights of root only its own user will do', async () => {
  // An effective user that root can give up and take back.
  if (root) {
    process.setegid?.(65534);
    process.seteuid?.(65534);
  }
  try {
    assert.match(JSON.stringify(await who({ user: 'ann' })), /Mailchute does not run as root/);
    assert.deepEqual(await who({}), { uid: process.geteuid?.(), gid: process.getegid?.() });
  } finally {
    if (root) {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
  }
});
