import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import {
  addressOf,
  routeEnvironment,
  type RouterSpec,
  type World,
} from '../../test/support/routing-world.ts';
import { formatAddress } from '../mail/address.ts';
import { createLocalUsers } from './drivers/local-machine.ts';
import { type Leaf, routeAll, type RouteAllOptions } from './route.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-route-all-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
function file(text: string, mode = 0o644): string {
  const name = path.join(folder, `f${files++}`);
  writeFileSync(name, text, { mode });
  return name;
}

const signal = new AbortController().signal;
const accept: RouterSpec = { name: 'acc', transport: 'lmtp', localParts: '!^no', accept: true };

function run(
  routers: readonly RouterSpec[],
  address: string,
  over: Partial<World> = {},
  options: RouteAllOptions = { width: 4 },
): Promise<readonly Leaf[]> {
  const world: World = { routers, transports: { smtp: false, lmtp: true, file: true, pipe: true }, ...over };
  return routeAll(addressOf(address), routeEnvironment(world), signal, options);
}

/** `address kind < parent < original`. */
function shown(leaves: readonly Leaf[]): string[] {
  return leaves
    .map(({ direct, address, routed, ancestors }) =>
      [
        direct?.text ?? formatAddress(address),
        routed.kind,
        ...ancestors.map((a) => `< ${formatAddress(a)}`),
      ].join(' '),
    )
    .sort();
}

function aliases(text: string, more: Partial<RouterSpec> = {}, redirect = {}): RouterSpec {
  const data = `\${lookup{$local_part}lsearch{${file(text)}}}`;
  return {
    name: 'al',
    domains: 'example.test',
    redirect: { data, allowFail: true, allowDefer: true, ...redirect },
    ...more,
  };
}

describe('routeAll', () => {
  test('children are routed from the top, with all their ancestors; an address may be its own child', async () => {
    const routers = [aliases('list: a, list, deep\ndeep: b, a\n'), accept];
    assert.deepEqual(shown(await run(routers, 'list@example.test')), [
      'a@example.test routed < list@example.test',
      'b@example.test routed < deep@example.test < list@example.test',
      'list@example.test routed < list@example.test',
    ]);
  });

  test('keys: empty for the recipient, unique for what comes of it', async () => {
    const routers = [aliases('list: A@EXAMPLE.test, list, |cmd\n', {}, { pipeTransport: 'pipe' }), accept];
    assert.deepEqual(
      (await run(routers, 'plain@example.test')).map((l) => l.key),
      [''],
    );
    assert.deepEqual((await run(routers, 'list@example.test')).map((l) => l.key).sort(), [
      'A@example.test',
      '\\0\\list@example.test',
      '|cmd:list@example.test',
    ]);
  });

  test('a circle of aliases ends', async () => {
    assert.deepEqual(shown(await run([aliases('a: b\nb: a\n')], 'a@example.test')), [
      'a@example.test fail < b@example.test < a@example.test',
    ]);
  });

  test('lists of lists are routed once each, not once for every way to them', async () => {
    let text = '';
    for (let i = 0; i < 40; i++) text += `l${i}: l${i + 1}, m${i + 1}\nm${i}: l${i + 1}, m${i + 1}\n`;
    assert.equal((await run([aliases(text), accept], 'l0@example.test')).length, 2);
  });

  test('an address that becomes too many is put off', async () => {
    const list = file(Array.from({ length: 20_001 }, (_, i) => `u${i}`).join('\n'));
    const routers: RouterSpec[] = [
      { name: 'l', localParts: 'list', redirect: { data: `:include:${list}` } },
      accept,
    ];
    const [leaf, ...others] = await run(routers, 'list@example.test');
    assert.equal(others.length, 0);
    assert.ok(leaf?.key === '' && leaf.routed.kind === 'defer');
    assert.match(leaf.routed.reason.text, /more than 20000/);
  });

  test(':fail: fails the address, and what stands before it is delivered, as in Exim', async () => {
    const routers = [aliases('gone: a, :fail: 550 5.7.1 moved\nwait: :defer: later\n'), accept];
    const leaves = await run(routers, 'gone@example.test');
    assert.deepEqual(shown(leaves), ['a@example.test routed < gone@example.test', 'gone@example.test fail']);
    const own = leaves.find((l) => l.ancestors.length === 0);
    assert.ok(own?.routed.kind === 'fail' && own.key === 'gone@example.test');
    assert.deepEqual(own.routed.reason.reply, { code: 550, status: '5.7.1', lines: ['moved'] });
    assert.deepEqual(shown(await run(routers, 'wait@example.test')), ['wait@example.test defer']);
  });

  test('unseen: two copies, with two keys', async () => {
    const copy: RouterSpec = { name: 'copy', transport: 'smtp', unseen: 'true', accept: true };
    const leaves = await run([copy, accept], 'u@example.test');
    assert.deepEqual(
      leaves.map((l) => [l.key, l.routed.router]),
      [
        ['u@example.test/copy', 'copy'],
        ['\\0\\u@example.test', 'acc'],
      ],
    );
  });

  test('errors_to, header edits and address_data go on to children, and theirs come on top', async () => {
    const up = aliases(
      'list: a, b\n',
      {
        errorsTo: 'owner@example.test',
        headersAdd: ['X-List: yes'],
        headersRemove: ['Subject'],
        addressData: 'from above',
      },
      {},
    );
    const down: RouterSpec = { ...accept, headersAdd: ['X-User: $address_data'], headersRemove: ['X-Old'] };
    const [leaf] = await run([up, down], 'list@example.test');
    assert.ok(leaf?.routed.kind === 'routed');
    assert.equal(formatAddress(leaf.routed.errorsTo ?? null), 'owner@example.test');
    assert.deepEqual(leaf.routed.headerEdits, [
      { kind: 'remove', name: 'Subject' },
      { kind: 'remove', name: 'X-Old' },
      { kind: 'add', where: 'bottom', text: 'X-List: yes\r\n' },
      { kind: 'add', where: 'bottom', text: 'X-User: from above\r\n' },
    ]);
  });

  test('a failing child knows where its errors go', async () => {
    const up = aliases('list: nobody\n', { errorsTo: 'owner@example.test' }, {});
    const [leaf] = await run([up, accept], 'list@example.test');
    assert.ok(leaf?.routed.kind === 'fail');
    assert.equal(formatAddress(leaf.errorsTo ?? null), 'owner@example.test');
  });

  test('one_time: what was generated before stands in place of the list', async () => {
    const list = aliases('list: a, b\n', {}, { oneTime: true });
    const leaves = await run([list, accept], 'list@example.test');
    assert.deepEqual(
      leaves.map((l) => l.oneTime?.parent),
      ['list@example.test', 'list@example.test'],
    );
    const expanded = new Map([
      [
        'list@example.test',
        [{ address: addressOf('b@example.test') }, { address: addressOf('old@example.test') }],
      ],
    ]);
    assert.deepEqual(shown(await run([list, accept], 'list@example.test', {}, { width: 4, expanded })), [
      'b@example.test routed < list@example.test',
      'old@example.test routed < list@example.test',
    ]);
  });

  test('what the wire said may name no file, included file or command', async () => {
    const direct: RouterSpec = {
      name: 'd',
      redirect: { data: '/var/mail/$local_part', fileTransport: 'file' },
    };
    const [leaf] = await run([direct], 'x@example.test');
    assert.ok(leaf?.routed.kind === 'defer');
    assert.match(leaf.routed.reason.text, /Tainted '\/var\/mail\/x'/);
    const included: RouterSpec = { name: 'i', redirect: { data: ':include:/lists/$local_part' } };
    const [other] = await run([included], 'x@example.test');
    assert.ok(other?.routed.kind === 'defer');
    assert.match(other.routed.reason.text, /Tainted name for included file/);
    const named: RouterSpec = { name: 'f', redirect: { file: '/home/$local_part/.forward' } };
    const [third] = await run([named], 'x@example.test');
    assert.ok(third?.routed.kind === 'defer');
    assert.match(third.routed.reason.text, /Tainted name .* for file read/);
  });

  test('check_local_user: home, user and forward file', async () => {
    const home = path.join(folder, 'home');
    const passwd = file(`joe:x:${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}:Joe:${home}:/bin/sh\n`);
    const users = createLocalUsers(passwd, file('staff:x:50:joe\n'));
    const routers: RouterSpec[] = [
      {
        name: 'fwd',
        checkLocalUser: true,
        redirect: { data: '$home/mbox, $local_user_uid@x.test', fileTransport: 'file' },
      },
      { ...accept, checkLocalUser: true, group: 'staff', localParts: '*' },
    ];
    const leaves = await run(routers, 'JOE@example.test', { users });
    const direct = leaves.find((l) => l.direct !== undefined);
    assert.ok(direct?.routed.kind === 'routed');
    assert.deepEqual(direct.routed.delivery, {
      home,
      user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'joe', initgroups: false },
      target: { kind: 'file', text: `${home}/mbox` },
    });
    assert.deepEqual(shown(await run(routers.slice(0, 1), 'jim@example.test', { users })), [
      'jim@example.test fail',
    ]);
    const [plain] = await run(routers.slice(1), 'joe@example.test', { users });
    assert.ok(plain?.routed.kind === 'routed');
    assert.equal(plain.routed.delivery?.user?.gid, 50);
  });

  test('a forward file whose rights are wrong is put off, one that is missing declines', async () => {
    const good = file('a@x.test\n');
    const open = file('a@x.test\n');
    const { chmodSync } = await import('node:fs');
    chmodSync(open, 0o664);
    const via = (name: string): RouterSpec => ({
      name: 'f',
      domains: 'example.test',
      redirect: { file: name },
    });
    assert.deepEqual(shown(await run([via(good), accept], 'u@example.test')), [
      'a@x.test routed < u@example.test',
    ]);
    assert.deepEqual(shown(await run([via(open), accept], 'u@example.test')), ['u@example.test defer']);
    assert.deepEqual(shown(await run([via(`${good}-not`), accept], 'u@example.test')), [
      'u@example.test routed',
    ]);
    assert.deepEqual(shown(await run([via(`${folder}/no/where`), accept], 'u@example.test')), [
      'u@example.test defer',
    ]);
  });
});
