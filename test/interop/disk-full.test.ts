/**
 * File systems that run full: under the spool, under the Maildirs, under the log. Nothing that was accepted is lost, nothing
 * is accepted that cannot be kept, and all goes on by itself once there is space.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { openAcl, pageMain, pageUnix, retrySection, storesSection } from '../support/configurations.ts';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { maildirMessages } from '../support/maildir.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { type Script, startScriptedServer } from '../support/scripted-server.ts';
import { submit, type Submitted } from '../support/smtp-talk.ts';

const MiB = 1 << 20;

/** Else MAIL is refused while less than 10 MiB is free, as in Exim, and no disk runs full. */
const askForNoSpace = 'check_spool_space = 0\ncheck_log_space = 0';

function mount(folder: string, size: string): void {
  mkdirSync(folder, { recursive: true });
  execFileSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'pipe' });
}

function unmount(folder: string): void {
  execFileSync('/usr/bin/umount', ['--lazy', folder], { stdio: 'pipe' });
}

/** False where a tmpfs can be mounted, else why not. */
function cannotMount(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root, to mount a small file system';
  const temporary = temporaryFolder('mount');
  const folder = temporary.path;
  try {
    mount(folder, '1m');
    unmount(folder);
    return false;
  } catch {
    return 'needs leave to mount a small file system';
  } finally {
    temporary.remove();
  }
}

interface World {
  readonly folder: string;
  readonly port: number;
  /** Makes a file system of its own at a place in the folder; it is gone when the test is over. */
  readonly mount: (name: string, size: string) => SmallDisk;
  readonly after: (undo: () => unknown) => void;
}

interface SmallDisk {
  readonly path: string;
  /** Takes all the space there is. */
  fill(): void;
  /** Gives back what `fill` took. */
  empty(): void;
}

async function makeWorld(t: TestContext, name: string): Promise<World> {
  const temporary = temporaryFolder(name);
  const folder = temporary.path;
  const undos: (() => unknown)[] = [() => temporary.remove()];
  t.after(async () => {
    for (const undo of undos.toReversed()) await undo();
  });
  return {
    folder,
    port: await freePort(),
    after: (undo) => undos.push(undo),
    mount(where, size) {
      const disk = path.join(folder, where);
      mount(disk, size);
      undos.push(() => unmount(disk));
      const filler = path.join(disk, 'filler');
      return {
        path: disk,
        fill() {
          // Others write at the same time, so that what is free now may be less in a moment.
          const page = Buffer.alloc(4096);
          try {
            for (;;) appendFileSync(filler, page);
          } catch (error) {
            assert.match(String(error), /ENOSPC/);
          }
        },
        empty: () => rmSync(filler, { force: true }),
      };
    },
  };
}

let letters = 0;

interface Letter {
  /** Occurs in its content and nowhere else. */
  readonly mark: string;
  readonly content: string;
}

function letter(octets: number): Letter {
  const mark = `letter ${letters++}.`;
  const filler = `${'0123456789abcdef'.repeat(4)}\r\n`.repeat(Math.ceil(octets / 66));
  return { mark, content: `Subject: disk\r\n\r\n${mark}\r\n${filler}end of ${mark}\r\n` };
}

async function send(port: number, what: Letter, to = 'alice'): Promise<Submitted> {
  return submit(port, { from: 'bob@example.test', to: [`${to}@example.test`], content: what.content });
}

const sizes = [300, 4000, 60_000, 200_000, MiB];

const unmountable = cannotMount();

for (const stage of ['empty', 'full'] as const)
  test(`the spool's disk runs full, and the store is back when it is ${stage}`, {
    skip: unmountable,
    timeout: 60_000,
  }, async (t) => {
    const world = await makeWorld(t, 'disk-spool');
    const disk = world.mount('spool', '20m');
    const later: Script = { banner: { say: '451 4.3.2 not now\r\n', close: true } };
    const store = await startScriptedServer(later);
    world.after(() => store[Symbol.asyncDispose]());
    const socket = store.endpoint.kind === 'unix' ? store.endpoint.path : '';
    const edge = await startMailchute(
      world.folder,
      `${pageMain}\n${askForNoSpace}\ndaemon_smtp_ports = ${world.port}`,
      openAcl + pageUnix({ port: 0, socket }) + retrySection,
    );
    world.after(() => edge.stop());
    const accepted: Letter[] = [];
    const refused: Letter[] = [];
    /** To those that were refused. */
    const replies: string[] = [];

    /** Sends one; gives whether it was accepted. A refusal must be temporary. */
    const sendOne = async (octets: number): Promise<boolean> => {
      const one = letter(octets);
      const sent = await send(world.port, one);
      if (sent.id === '') assert.match(sent.reply, /^45[12] /, `${sent.to}: ${sent.reply}`);
      if (sent.id === '') replies.push(sent.reply);
      (sent.id === '' ? refused : accepted).push(one);
      return sent.id !== '';
    };

    // The spool fills with what cannot be delivered, until it takes no more.
    for (let i = 0; await sendOne(sizes[i % sizes.length] ?? 0); i++) assert.ok(i < 200);
    assert.ok(accepted.length > 10, `${accepted.length} were accepted`);
    // What a refused message had taken is given back, so that another may find room yet.
    await until(async () => !(await sendOne(MiB)), 'a large one is refused');
    assert.ok(
      replies.every((reply) => reply.startsWith('452 ')),
      replies.join('\n'),
    );
    assert.match(edge.mainLog(), /temporarily rejected after DATA: space shortage/);

    // And to the last octet: now not even what came in can be written down.
    disk.fill();
    // A small one may find room in pages of the database that were used before.
    for (const octets of sizes) await sendOne(octets);
    assert.equal(await sendOne(MiB), false, 'accepted on a full disk');

    const arrivals = (one: Letter): number =>
      store.contents.filter((c) => c.includes(`end of ${one.mark}`)).length;
    const allCame = (): boolean => accepted.every((one) => arrivals(one) > 0);
    const why = (): string =>
      `everything arrives: ${accepted.filter((one) => arrivals(one) === 0).length} of ${accepted.length} have not; ${edge.mainLog().slice(-2000)}`;
    if (stage === 'full') {
      // What the store has taken cannot be recorded now, and must not be forgotten.
      store.script = {};
      await until(() => /cannot record what was delivered/.test(edge.mainLog()), why);
    }
    disk.empty();
    store.script = {};
    await until(allCame, why);

    // The queue is empty, and takes mail again.
    const again: Letter[] = [];
    for (const octets of sizes) {
      const one = letter(octets);
      await until(
        async () => (await send(world.port, one)).id !== '',
        () => `mail is accepted; ${edge.mainLog().slice(-2000)}`,
      );
      again.push(one);
    }
    await until(() => again.every((one) => arrivals(one) > 0), 'the new mail arrives');
    const ids = [...edge.mainLog().matchAll(/ (\S+) <= /g)].map((m) => m[1] ?? '');
    await until(
      () => ids.every((id) => edge.mainLog().includes(`${id} Completed`)),
      () => `all is completed; ${edge.mainLog().slice(-2000)}`,
    );
    for (const one of [...accepted, ...again]) {
      assert.equal(arrivals(one), 1, `${one.mark} arrived ${arrivals(one)} times`);
      const came = store.contents.find((c) => c.includes(`end of ${one.mark}`));
      assert.ok(came?.toString('latin1').endsWith(one.content), `${one.mark} is not as it was sent`);
    }
    for (const one of refused) assert.equal(arrivals(one), 0, `${one.mark} was refused, and arrived`);
    assert.deepEqual(readdirSync(path.join(disk.path, 'spool/body')), [], 'a content file is left');
    assert.doesNotMatch(edge.mainLog(), / \*\* /);
  });

test("the Maildirs' disk is full: mail waits at the edge", {
  skip: unmountable,
  timeout: 60_000,
}, async (t) => {
  const world = await makeWorld(t, 'disk-maildir');
  const disk = world.mount('mail', '4m');
  writeFileSync(
    path.join(world.folder, 'users'),
    ['alice', 'carol'].map((u) => `${u}:{PLAIN}x:::::\n`).join(''),
  );
  const address = { port: await freePort(), socket: path.join(world.folder, 'lmtp') };
  const both = await startMailchute(
    world.folder,
    `${pageMain}\n${askForNoSpace}\ndaemon_smtp_ports = ${world.port}`,
    openAcl + pageUnix(address) + storesSection(address, world.folder) + retrySection,
  );
  world.after(() => both.stop());
  const inboxOf = (user: string): string[] => maildirMessages(path.join(disk.path, user));
  const has = (user: string, one: Letter): boolean =>
    inboxOf(user).some((m) => m.includes(`end of ${one.mark}`));

  const early = letter(4000);
  assert.notEqual((await send(world.port, early)).id, '');
  await until(() => has('alice', early), 'there is a mailbox');

  // No page left for a message, and none for a new mailbox.
  disk.fill();
  const waiting: { readonly one: Letter; readonly id: string; readonly user: string }[] = [];
  for (const [i, octets] of [20_000, 100_000, 300_000, MiB, 20_000].entries()) {
    const user = i === 4 ? 'carol' : 'alice';
    const one = letter(octets);
    const { id, reply } = await send(world.port, one, user);
    assert.notEqual(id, '', reply);
    waiting.push({ one, id, user });
  }
  for (const { id, user } of waiting)
    await until(
      () => new RegExp(`${id} == ${user}@example\\.test .*: 4\\d\\d `).test(both.mainLog()),
      () => `${id} is put off; ${both.mainLog().slice(-2000)}`,
    );
  assert.deepEqual(inboxOf('alice').length, 1);
  assert.deepEqual(inboxOf('carol'), []);
  assert.deepEqual(readdirSync(path.join(disk.path, 'alice/tmp')), [], 'the beginning of a message is left');

  disk.empty();
  for (const { one, id, user } of waiting) {
    await until(
      () => both.mainLog().includes(`${id} Completed`),
      () => `${id} is delivered; ${both.mainLog().slice(-2000)}`,
    );
    const copies = inboxOf(user).filter((m) => m.includes(`end of ${one.mark}`));
    assert.equal(copies.length, 1);
    assert.ok(copies[0]?.endsWith(one.content.replaceAll('\r\n', '\n')), `${one.mark} is not as it was sent`);
  }
  assert.doesNotMatch(both.mainLog(), / \*\* /);
});

test("the log's disk is full: mail goes on", { skip: unmountable, timeout: 60_000 }, async (t) => {
  const world = await makeWorld(t, 'disk-log');
  const disk = world.mount('log', '64k');
  const store = await startScriptedServer({
    rcpt: (to) => (to.startsWith('nobody') ? '550 5.1.1 unknown\r\n' : '250 ok\r\n'),
  });
  world.after(() => store[Symbol.asyncDispose]());
  const socket = store.endpoint.kind === 'unix' ? store.endpoint.path : '';
  const edge: Mailchute = await startMailchute(
    world.folder,
    `${pageMain}\n${askForNoSpace}\ndaemon_smtp_ports = ${world.port}`,
    openAcl + pageUnix({ port: 0, socket }) + retrySection,
  );
  world.after(() => edge.stop());
  const arrived = (one: Letter): boolean => store.contents.some((c) => c.includes(`end of ${one.mark}`));
  const sendAndGet = async (): Promise<string> => {
    const one = letter(300);
    const { id, reply } = await send(world.port, one);
    assert.notEqual(id, '', reply);
    await until(() => arrived(one), 'it arrives');
    return id;
  };
  const first = await sendAndGet();
  await until(() => edge.mainLog().includes(`${first} Completed`), 'it is logged');

  disk.fill();
  // The last page of the file has room for some lines yet.
  let lost = '';
  for (let i = 0; i < 40; i++) lost = await sendAndGet();
  // Refusals and bounces are logged, too.
  assert.match(
    (await submit(world.port, { from: 'a@b.test', to: ['x@elsewhere.test'], content: '' })).reply,
    /^550 /,
  );
  const failing = letter(300);
  assert.notEqual((await send(world.port, failing, 'nobody')).id, '');
  await until(() => store.contents.some((c) => c.includes('message/delivery-status')), 'the bounce arrives');
  assert.ok(!edge.mainLog().includes(`${lost} Completed`), 'the log was not full');
  assert.match(edge.running.output(), /cannot write the main log: .*ENOSPC/);

  disk.empty();
  const next = await sendAndGet();
  await until(() => edge.mainLog().includes(`${next} Completed`), 'the log goes on');
  // The line that the full disk cut may be as short as an octet.
  for (const line of readFileSync(path.join(disk.path, 'mainlog'), 'latin1').trimEnd().split('\n'))
    assert.doesNotMatch(line, /(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d .*){2}/, 'two lines in one');
  assert.equal((edge.running.output().match(/cannot write the main log/g) ?? []).length, 1, 'told once');
});
