// Quotas of our store beside those of the real Dovecot: the same mail and the same expunges, in Maildirs of their own and in turns in one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { storesSection } from '../support/configurations.ts';
import { startDovecot, type Dovecot } from '../support/dovecot.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { ownedByMail } from '../support/store.ts';

const skip = needsRoot('dovecot', '/usr/lib/dovecot/lmtp', 'doveadm');
const mailUid = 8;

/** Settings of both: a name and a value a line, percent signs single. */
type Settings = readonly (readonly [string, string])[];

function dovecotPlugin(settings: Settings, atRcpt: boolean, more = ''): string {
  const counts = new Map<string, number>();
  const lines = settings.map(([name, value]) => {
    const n = (counts.get(name) ?? 0) + 1;
    counts.set(name, n);
    return `  ${name}${n === 1 ? '' : n} = ${value.replaceAll('%', '%%')}`;
  });
  return `mail_plugins = quota
protocol lmtp {
  lmtp_save_to_detail_mailbox = yes
  lda_mailbox_autocreate = yes
  lmtp_rcpt_check_quota = ${atRcpt ? 'yes' : 'no'}
}
plugin {
${lines.join('\n')}
}
${more}`;
}

function ourOptions(settings: Settings, atRcpt: boolean, more = ''): string {
  const lines = settings.map(([name, value]) => `        ${name} = ${value}\n`);
  return `${ownedByMail}        hostname = ${os.hostname()}
        lmtp_save_to_detail_mailbox
        lda_mailbox_autocreate
        lmtp_rcpt_check_quota = ${atRcpt}
${lines.join('')}${more}`;
}

interface World {
  readonly theirs: Dovecot;
  /** A Dovecot that reads our Maildirs, with the same quotas. */
  readonly reader: Dovecot;
  readonly ours: Mailchute;
  readonly ourPort: number;
  readonly ourMail: string;
}

interface Options {
  /** The users; u, v and w by default. */
  readonly names?: readonly string[];
  /** Lines of the passwd-file. */
  readonly users?: string;
  /** One mail folder for both. */
  readonly shared?: boolean;
  /** Folders lie in folders: `LAYOUT=fs`. */
  readonly fs?: boolean;
  /** Asked at RCPT already; default true. */
  readonly atRcpt?: boolean;
  readonly ours?: string;
  readonly theirs?: string;
}

async function withWorld(
  settings: Settings,
  run: (world: World) => Promise<unknown>,
  options: Options = {},
): Promise<void> {
  const folder = temporaryFolder('store-quota');
  chmodSync(folder.path, 0o755);
  const { names = ['u', 'v', 'w'] } = options;
  const { atRcpt = true } = options;
  const stops: (() => Promise<void>)[] = [];
  try {
    const extra = dovecotPlugin(settings, atRcpt, options.theirs);
    const layout = (mail: string): string =>
      options.fs === true ? `mail_location = maildir:${mail}/%u:LAYOUT=fs\n` : '';
    const theirs = await startDovecot(path.join(folder.path, 'theirs'), {
      users: names,
      extra: layout(path.join(folder.path, 'theirs/mail')) + extra,
    });
    stops.push(() => theirs.stop());
    const ourFolder = path.join(folder.path, 'ours');
    const ourMail = options.shared === true ? theirs.mail : path.join(ourFolder, 'mail');
    mkdirSync(ourFolder, { recursive: true });
    mkdirSync(ourMail, { recursive: true });
    chmodSync(ourFolder, 0o755);
    chownSync(ourMail, mailUid, mailUid);
    const reader = await startDovecot(path.join(folder.path, 'reader'), {
      users: names,
      mail: ourMail,
      extra: layout(ourMail) + extra,
    });
    stops.push(() => reader.stop());
    const users = options.users ?? names.map((u) => `${u}:{PLAIN}secret:::::\n`).join('');
    for (const place of ['theirs', 'reader', 'ours'])
      writeFileSync(path.join(folder.path, place, 'users'), users);
    const ourPort = await freePort();
    const address = { port: ourPort, socket: path.join(ourFolder, 'lmtp') };
    const section = storesSection(
      address,
      ourFolder,
      ourOptions(
        settings,
        atRcpt,
        `${options.fs === true ? '        maildir_layout = fs\n' : ''}${options.ours ?? ''}`,
      ),
    );
    const ours = await startMailchute(ourFolder, '', section.replace(`${ourFolder}/mail/`, `${ourMail}/`));
    stops.push(() => ours.stop());
    await run({ theirs, reader, ours, ourPort, ourMail });
  } finally {
    for (const stop of stops.toReversed()) await stop();
    folder.remove();
  }
}

function letter(octets: number, subject = 'x'): string {
  let text = `Subject: ${subject}\r\n\r\n`;
  while (text.length + 72 <= octets) text += `${'0123456789'.repeat(7)}\r\n`;
  return text;
}

/** Codes of the replies to RCPT, then of those after the content; texts without the session. */
async function send(port: number, to: readonly string[], content: string): Promise<string[]> {
  await using talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port });
  const { rcpt, ends } = await talk.transaction('s@b.example', to, content);
  // Where Dovecot's answer to RCPT was 250 and no data were asked for, there is nothing after it.
  return [...rcpt, ...ends].map((r) => r.replace(/> \S+ Saved$/, '> Saved'));
}

function sumOf(maildir: string): string {
  const [, ...lines] = readFileSync(path.join(maildir, 'maildirsize'), 'latin1').trimEnd().split('\n');
  let bytes = 0;
  let messages = 0;
  for (const line of lines) {
    const [b, n] = line.split(' ').map(Number);
    bytes += b ?? Number.NaN;
    messages += n ?? Number.NaN;
  }
  return `${bytes} ${messages}`;
}

const header = (maildir: string): string =>
  readFileSync(path.join(maildir, 'maildirsize'), 'latin1').split('\n')[0] ?? '';

const usage = async (dovecot: Dovecot, user: string): Promise<string> =>
  (await dovecot.doveadm('-f', 'tab', 'quota', 'get', '-u', user)).trim();

interface Step {
  readonly to?: readonly string[];
  readonly octets?: number;
  /** Or so many lines of one letter. */
  readonly lines?: number;
  /** A search for doveadm expunge. */
  readonly expunge?: readonly string[];
}

const deliver = (octets: number, ...to: string[]): Step => ({ to: to.length === 0 ? ['u'] : to, octets });
const expunge = (...search: string[]): Step => ({ expunge: search });

/** Both after every step: replies, limits and sums to the octet, and what doveadm says. Gives the last reply of each delivery. */
async function sameAtEachStep(world: World, steps: readonly Step[]): Promise<readonly string[]> {
  const last: string[] = [];
  const { theirs, reader, ourPort, ourMail } = world;
  for (const [i, step] of steps.entries()) {
    const what = `step ${i + 1}: ${JSON.stringify(step)}`;
    if (step.to !== undefined) {
      const text = letter(step.octets ?? 0, `s${i + 1}`) + 'a\r\n'.repeat(step.lines ?? 0);
      const expected = await send(theirs.lmtpPort, step.to, text);
      assert.deepEqual(await send(ourPort, step.to, text), expected, what);
      last.push(expected.at(-1)?.slice(0, 3) ?? '');
    } else {
      for (const d of [theirs, reader]) await d.doveadm('expunge', '-u', 'u', ...(step.expunge ?? []));
    }
    for (const user of ['u', 'v', 'w']) {
      const [a, b] = [path.join(theirs.mail, user), path.join(ourMail, user)];
      if (!existsSync(path.join(a, 'maildirsize'))) continue;
      // Dovecot makes a Maildir also for mail that it refuses.
      if (!existsSync(b) && sumOf(a) === '0 0') continue;
      assert.equal(header(b), header(a), what);
      assert.equal(sumOf(b), sumOf(a), `${what} ${user}`);
      assert.equal(await usage(reader, user), await usage(theirs, user), what);
    }
  }
  // Counted anew it is the same.
  for (const user of ['u', 'v', 'w']) {
    const maildir = path.join(ourMail, user);
    if (!existsSync(path.join(maildir, 'maildirsize'))) continue;
    const before = sumOf(maildir);
    await reader.doveadm('quota', 'recalc', '-u', user);
    assert.equal(sumOf(maildir), before);
  }
  return last;
}

describe('quotas beside those of Dovecot', { skip }, () => {
  test('limit of octets with the grace, expunges, several recipients', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:storage=10K:messages=100'],
      ],
      (world) =>
        sameAtEachStep(world, [
          deliver(20_000),
          ...Array.from({ length: 7 }, () => deliver(2000)),
          deliver(100, 'v', 'u', 'w', 'u'),
          expunge('mailbox', 'INBOX', 'subject', 's3'),
          deliver(1000),
          deliver(3000),
          deliver(10),
          expunge('mailbox', 'INBOX', 'all'),
          deliver(3000, 'u', 'v'),
        ]),
    ));

  test('limit of messages, no grace, a message of the administrator', () =>
    withWorld(
      [
        ['quota', 'maildir'],
        ['quota_rule', '*:messages=3:bytes=5000'],
        ['quota_grace', '0'],
        ['quota_exceeded_message', 'no room here'],
      ],
      (world) =>
        sameAtEachStep(world, [
          ...Array.from({ length: 5 }, () => deliver(200)),
          expunge('mailbox', 'INBOX', 'subject', 's2'),
          deliver(4900),
          deliver(3800),
          deliver(10),
        ]),
    ));

  test('a message must fit with CRLF at its line ends, and is counted without', () =>
    withWorld(
      [
        ['quota', 'maildir'],
        ['quota_rule', '*:bytes=3000'],
        ['quota_grace', '0'],
      ],
      async (world) => {
        const replies = await sameAtEachStep(world, [
          { to: ['u'], lines: 900 },
          { to: ['u'], lines: 300 },
          { to: ['u'], lines: 150 },
        ]);
        assert.deepEqual(replies, ['250', '552', '250']);
      },
    ));

  test('folders with rules of their own', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=2000'],
        ['quota_rule', 'Trash:bytes=+50%'],
        ['quota_rule', 'Ign*:ignore'],
        ['quota_rule', 'Tr?sh:bytes=+9000'],
        ['quota_rule', 'Less:bytes=-1500'],
        ['quota_rule', 'None:bytes=-3000'],
        ['quota_grace', '0'],
      ],
      (world) =>
        sameAtEachStep(
          world,
          'u u u u+Trash u+Trash u+Trash u+Ignored u+trash u+Less u+None u+None u+Ignored u+Ign u+Trash'
            .split(' ')
            .map((to) => deliver(500, to)),
        ),
      { atRcpt: false },
    ));

  test('rules of a user, and a rule that cannot be read', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=5000'],
      ],
      (world) => sameAtEachStep(world, [deliver(500, 'u', 'v'), deliver(700, 'u', 'v'), deliver(2000, 'v')]),
      {
        users: `u:{PLAIN}secret::::::userdb_quota_rule=*:bytes=1000
v:{PLAIN}secret:::::
w:{PLAIN}secret::::::userdb_quota_rule=*:bytes=1X
`,
      },
    ));

  test('no limits, and limits that are not enforced: mail is counted all the same', async () => {
    await withWorld([['quota', 'maildir:User quota']], (world) =>
      sameAtEachStep(world, [deliver(500), deliver(700), expunge('mailbox', 'INBOX', 'all'), deliver(10)]),
    );
    await withWorld(
      [
        ['quota', 'maildir:User quota:noenforcing'],
        ['quota_rule', '*:bytes=1000'],
      ],
      (world) => sameAtEachStep(world, [deliver(500), deliver(700), deliver(900)]),
    );
  });

  test('one Maildir in turns, expunged by IMAP between them', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=20000:messages=12'],
        ['quota_rule', 'Sub.*:ignore'],
      ],
      async ({ theirs, reader, ourPort, ourMail }) => {
        const maildir = path.join(ourMail, 'u');
        const seen: string[] = [];
        for (let i = 0; i < 30; i++) {
          const port = i % 3 === 1 ? theirs.lmtpPort : ourPort;
          const to = i % 7 === 5 ? 'u+Sub' : i % 7 === 6 ? 'u+Sub.Deep' : 'u';
          const replies = await send(port, [to], letter(500 + i * 70, `s${i}`));
          seen.push(replies.at(-1)?.slice(0, 3) ?? '');
          if (i % 5 === 4)
            await reader.doveadm('expunge', '-u', 'u', 'mailbox', 'INBOX', 'subject', `s${i - 3}`);
          // What both wrote in turns is what lies there.
          const before = sumOf(maildir);
          await reader.doveadm('quota', 'recalc', '-u', 'u');
          assert.equal(sumOf(maildir), before, `after ${i}`);
        }
        assert.ok(seen.includes('250') && seen.includes('552'), seen.join(' '));
      },
      { shared: true },
    ));

  test('a maildirsize that is broken, long, old or of other limits is written anew when Dovecot would', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=5000:messages=10'],
      ],
      async ({ theirs, ourPort, ourMail }) => {
        for (const port of [theirs.lmtpPort, ourPort]) await send(port, ['u'], letter(50));
        const good = '5000S,10C\n';
        const files = [
          '',
          'hello\n100 1\n',
          `${good}abc\n`,
          good,
          `${good}-100 -1\n`,
          `${good}100 1\n\0\n`,
          `${good}   100   1\n`,
          `${good}100 1 junk\n`,
          `${good}+100 +1\n`,
          '10C,5000S\n100 1\n',
          '6000S,10C\n100 1\n',
          `${good}6000 1\n`,
          `${good}3000 1\n3000 1\n`,
          `${good}\n100 1\n`,
          `${good}${'0 0\n'.repeat(1300)}`,
          `${good}100 1\n${'0 0\n'.repeat(1275)}`,
          '5000S,10C\r\n100 1\r\n',
          '5000S,10C,7X\n100 1\n',
          `${good}100.5 1\n`,
          `${good}50 11\n`,
        ];
        for (const text of files)
          for (const ageS of [0, 1000]) {
            const after = [theirs.mail, ourMail].map((mail) => {
              const file = path.join(mail, 'u/maildirsize');
              writeFileSync(file, text);
              chownSync(file, mailUid, mailUid);
              utimesSync(file, Date.now() / 1000 - ageS, Date.now() / 1000 - ageS);
              return file;
            });
            const what = `${JSON.stringify(text.slice(0, 60))} (${text.length} octets), ${ageS} s old`;
            const expected = await send(theirs.lmtpPort, ['u'], letter(50));
            assert.deepEqual(await send(ourPort, ['u'], letter(50)), expected, what);
            const [a, b] = after.map((file) => readFileSync(file, 'latin1'));
            assert.equal(b, a, what);
            for (const mail of [theirs.mail, ourMail])
              for (const name of readdirSync(path.join(mail, 'u/new')).sort().slice(1))
                rmSync(path.join(mail, 'u/new', name));
          }
      },
    ));

  test('what counts: names with sizes and without, all folders, links, what is no folder', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=100000000'],
        ['quota_rule', 'Ign.*:ignore'],
        ['quota_rule', '\xc3\xa4*:ignore'],
        ['quota_rule', 'Trash:bytes=+100'],
      ],
      async ({ reader, ourPort, ourMail }) => {
        await send(ourPort, ['u'], letter(50));
        const maildir = path.join(ourMail, 'u');
        const file = (name: string, octets: number): void =>
          writeFileSync(path.join(maildir, name), 'x'.repeat(octets));
        const folders = [
          '.Sub',
          '.Trash',
          '.Ign',
          '.Ign.Deep',
          '.Sub.Deep',
          '.half',
          'plain',
          '..DOVECOT-TRASHED',
        ];
        const odd = [
          '.&AOQ-x',
          '.a~',
          '.a&b',
          '.\xc3\xa4',
          '.INBOX',
          '.inbox',
          '.INBOX.Sub',
          '. sp',
          '.~x',
          '.q*',
        ];
        for (const [i, name] of [...folders, ...odd, 'target'].entries()) {
          const octets = Buffer.from(name, 'latin1').toString('utf8');
          for (const part of ['cur', 'new', 'tmp'])
            mkdirSync(path.join(maildir, octets, part), { recursive: true });
          file(`${octets}/cur/1.a:2,S`, 2 ** (i + 3));
          file(`${octets}/new/2.a`, 1);
          file(`${octets}/tmp/3.a`, 1);
        }
        rmSync(path.join(maildir, '.half/cur'), { recursive: true });
        symlinkSync('/etc/hostname', path.join(maildir, 'cur/link'));
        symlinkSync('/nonexistent', path.join(maildir, 'cur/dangling'));
        mkdirSync(path.join(maildir, 'cur/folder'));
        const names = [
          'x,S=500,W=600:2,S',
          'y,S=5x',
          'z,S=',
          '.dot',
          '..dots',
          'w,W=3,S=70',
          'v,S=11,S=13:2,',
        ];
        for (const [i, name] of names.entries()) file(`cur/${name}`, i + 1);
        execFileSync('chown', ['-hR', String(mailUid), maildir]);
        rmSync(path.join(maildir, 'maildirsize'));
        // Ours counts before the delivery, then adds it.
        await send(ourPort, ['u'], letter(50));
        const ours = sumOf(maildir);
        await reader.doveadm('quota', 'recalc', '-u', 'u');
        assert.equal(ours, sumOf(maildir));
      },
    ));

  test('warnings: the first whose limit is reached from below, once', () => {
    const folder = temporaryFolder('store-quota-warnings');
    chmodSync(folder.path, 0o777);
    const script = path.join(folder.path, 'warn');
    writeFileSync(script, '#!/bin/sh\nwhere=$1; shift\nprintf "%s\\n" "$*" >> "$where"\n');
    chmodSync(script, 0o755);
    const said = (who: string): string => {
      const file = path.join(folder.path, who);
      return existsSync(file) ? readFileSync(file, 'latin1') : '';
    };
    const limits = ['storage=95%', 'storage=50%', 'messages=2', 'bytes=1800:messages=5'];
    const theirs = limits.map(
      (l, i) =>
        `  quota_warning${i === 0 ? '' : i + 1} = ${l.replace('%', '%%')} warn ${folder.path}/theirs ${i} %u`,
    );
    const ours = limits.map(
      (l, i) => `        quota_warning = ${l} ${script} ${folder.path}/ours ${i} $local_part_data\n`,
    );
    return withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=2000:messages=100'],
      ],
      async (world) => {
        // A delivery that warns last of all shows that nothing else is under way.
        const both = async (octets: number): Promise<void> => {
          for (const port of [world.theirs.lmtpPort, world.ourPort]) await send(port, ['u'], letter(octets));
          await until(
            () => said('theirs') === said('ours') && said('ours'),
            () => `${said('theirs')} | ${said('ours')}`,
          );
        };
        const empty = async (): Promise<void> => {
          for (const d of [world.theirs, world.reader])
            await d.doveadm('expunge', '-u', 'u', 'mailbox', 'INBOX', 'all');
        };
        await both(900);
        for (const octets of [100, 300, 200, 300, 1]) await both(octets);
        await empty();
        for (const octets of [1750, 20]) await both(octets);
        await empty();
        for (let i = 0; i < 6; i++) await both(1);
        assert.ok(said('ours').split('\n').length > 4, said('ours'));
        assert.equal(said('ours'), said('theirs'));
        assert.deepEqual(world.ours.mainLog().match(/.*quota warning.*/g), null);
      },
      {
        theirs: `plugin {\n${theirs.join('\n')}\n}\nservice warn {\n  executable = script ${script}\n  user = root\n  unix_listener warn {\n    mode = 0666\n  }\n}\n`,
        ours: ours.join(''),
      },
    ).finally(() => folder.remove());
  });

  test('the size that the sender declares, a maximum, a figure that cannot be read', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=5000'],
        ['quota_max_mail_size', '8K'],
      ],
      async ({ ours, ourPort, ourMail }) => {
        await using talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port: ourPort });
        const rcpt = async (parameter: string): Promise<string> => {
          await talk.say(`MAIL FROM:<s@b.example>${parameter}`);
          const [reply = ''] = await talk.say('RCPT TO:<u>');
          await talk.say('RSET');
          return reply;
        };
        assert.equal(await rcpt(' SIZE=5500'), '250 2.1.5 OK');
        assert.equal(await rcpt(' SIZE=5501'), '552 5.2.2 <u> Quota exceeded (mailbox for user is full)');
        assert.match(await rcpt(' SIZE=8193'), /^552 5\.2\.3 <u> Mail size is larger/);
        assert.match(
          (await send(ourPort, ['u'], letter(9000)))[1] ?? '',
          /^552 5\.2\.3 <u> Mail size is larger/,
        );
        await send(ourPort, ['u'], letter(4000));
        assert.equal(await rcpt(''), '250 2.1.5 OK');
        assert.match(await rcpt(' SIZE=2000'), /^552 5\.2\.2/);
        await send(ourPort, ['u'], letter(1000));
        assert.match(await rcpt(''), /^552 5\.2\.2/);
        const file = path.join(ourMail, 'u/maildirsize');
        chownSync(file, 0, 0);
        assert.equal(await rcpt(''), '451 4.3.0 <u> Temporary internal error');
        rmSync(file);
        mkdirSync(file);
        assert.equal(await rcpt(' SIZE=100'), '451 4.3.0 <u> Temporary internal error');
        assert.match(ours.mainLog(), /quota of u: maildirsize belongs to uid 0, not 8/);
        assert.match(ours.mainLog(), /quota of u: maildirsize is not a file/);
      },
    ));

  test('quota = count: virtual sizes as Dovecot has them by its index', () =>
    withWorld(
      [
        ['quota', 'count:User quota'],
        ['quota_rule', '*:bytes=6000:messages=7'],
        ['quota_rule', 'Sub:ignore'],
      ],
      async ({ theirs, reader, ourPort, ourMail }) => {
        const both = async (to: string, octets: number): Promise<void> => {
          const text = letter(octets, 'c');
          assert.deepEqual(await send(ourPort, [to], text), await send(theirs.lmtpPort, [to], text));
          assert.equal(await usage(reader, 'u'), await usage(theirs, 'u'));
        };
        for (const to of ['u', 'u+Other', 'u+Sub', 'u']) await both(to, 900);
        // Without sizes in its name, and read.
        for (const mail of [theirs.mail, ourMail]) {
          const file = path.join(mail, 'u/cur/1.handmade:2,S');
          writeFileSync(file, `Subject: handmade\n\n${'a\n'.repeat(300)}`);
          chownSync(file, mailUid, mailUid);
        }
        for (const octets of [300, 1500, 10, 3000]) await both('u', octets);
        for (const d of [theirs, reader]) await d.doveadm('expunge', '-u', 'u', 'mailbox', 'Other', 'all');
        for (const octets of [300, 300, 600, 10, 10]) await both('u', octets);
      },
      { atRcpt: false, theirs: 'plugin {\n  quota_vsizes = yes\n}\n' },
    ));

  test('deliveries at one time: one message may exceed the limit, and each that came is counted once', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=20000'],
      ],
      async ({ reader, ourPort, ourMail }) => {
        await send(ourPort, ['u'], letter(10));
        const replies = await Promise.all(
          Array.from({ length: 60 }, (_, i) => send(ourPort, ['v', 'u', 'w'], letter(1000, `s${i}`))),
        );
        const stored = replies.filter((r) => r.includes('250 2.0.0 <u> Saved')).length;
        const maildir = path.join(ourMail, 'u');
        const [bytes = 0, messages] = sumOf(maildir).split(' ').map(Number);
        assert.equal(messages, stored + 1);
        assert.equal(readdirSync(path.join(maildir, 'new')).length, stored + 1);
        assert.ok(bytes >= 20_000 && bytes < 21_400, String(bytes));
        await reader.doveadm('quota', 'recalc', '-u', 'u');
        assert.equal(sumOf(maildir), `${bytes} ${messages}`);
      },
    ));

  test('rules read as Dovecot reads them, or refused by both', () => {
    const rules = [
      '*:storage=1M:messages=10 *:storage=10 *:storage=1.5M *:storage=1MB *:storage=1X *:bytes=5k',
      '*:storage=-5 *:storage=+5 *: * *:foo=1 *:storage *:storage= *:storage=5: *:storage=5%%%%',
      '*:bytes=1G:bytes=5000 *:ignore *:backend=5000S,3C *:backend=NOQUOTA *:backend=5 *:backend=3C',
      '*:noquota *:messages=2K *:bytes=0x10 *:bytes=007000 *:bytes=5T ?:bytes=7000 *:storage=5=5',
      '*:Storage=5 *:bytes=9000b *:messages=3: Trash:bytes=+5 Trash:bytes=5 Trash:messages=-5',
      'Trash:bytes=+5%%%% Trash:bytes=-100%%%% :bytes=7 INBOX:bytes=+5 *:bytes=5G:messages=0',
      'Trash:ignore *:storage=99999999999999999999',
    ].flatMap((line) => line.split(' '));
    // A percent sign is four: Dovecot expands the field of the file, and then the setting.
    const names = rules.map((_, i) => `r${i}`);
    const users = rules.map((rule, i) => `r${i}:{PLAIN}secret::::::userdb_quota_rule=${rule}\n`).join('');
    return withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=5000'],
      ],
      async ({ theirs, ourPort, ourMail }) => {
        const kinds = new Map<string, number>();
        for (const [i, name] of names.entries()) {
          const expected = (await send(theirs.lmtpPort, [name], letter(50))).at(-1)?.slice(0, 9);
          assert.equal((await send(ourPort, [name], letter(50))).at(-1)?.slice(0, 9), expected, rules[i]);
          kinds.set(expected ?? '', (kinds.get(expected ?? '') ?? 0) + 1);
          if (expected === '250 2.0.0')
            assert.equal(header(path.join(ourMail, name)), header(path.join(theirs.mail, name)), rules[i]);
        }
        assert.ok(
          (kinds.get('250 2.0.0') ?? 0) > 10 && (kinds.get('451 4.3.0') ?? 0) > 10,
          JSON.stringify([...kinds]),
        );
      },
      { users, names },
    );
  });

  test('any sequence of deliveries and expunges near the limits', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=6000:messages=9'],
        ['quota_grace', '5%'],
      ],
      async (world) => {
        const steps = fc.sample(
          fc.oneof(
            { weight: 5, arbitrary: fc.integer({ min: 10, max: 2500 }).map((octets) => deliver(octets)) },
            {
              weight: 1,
              arbitrary: fc.integer({ min: 10, max: 300 }).map((octets) => deliver(octets, 'v', 'u')),
            },
            {
              weight: 2,
              arbitrary: fc.integer({ min: 1, max: 3 }).map((n) => expunge('mailbox', 'INBOX', `1:${n}`)),
            },
          ),
          { seed: Number(process.env['QUOTA_SEED'] ?? 4), numRuns: Number(process.env['QUOTA_STEPS'] ?? 25) },
        );
        const replies = await sameAtEachStep(world, steps);
        assert.deepEqual([...new Set(replies)].sort(), ['250', '552']);
      },
    ));

  test('mbox files count by their size, as quota = dirsize of Dovecot sees them', async () => {
    const folder = temporaryFolder('store-quota-mbox');
    chmodSync(folder.path, 0o755);
    const mail = path.join(folder.path, 'mail');
    mkdirSync(mail);
    chownSync(mail, mailUid, mailUid);
    writeFileSync(path.join(folder.path, 'users'), 'u:{PLAIN}secret:::::\n');
    const port = await freePort();
    const section = storesSection({ port, socket: path.join(folder.path, 'lmtp') }, folder.path)
      .replace('driver = maildir', 'driver = mbox')
      .replace(
        /maildir = .*/,
        `mbox = ${mail}/$local_part_data/inbox\n        mbox_folders = ${mail}/$local_part_data`,
      );
    const ours = await startMailchute(
      folder.path,
      '',
      `${section}${ourOptions(
        [
          ['quota', 'dirsize'],
          ['quota_rule', '*:bytes=5000'],
          ['quota_rule', 'Free:ignore'],
        ],
        true,
      )}`,
    );
    const reader = await startDovecot(path.join(folder.path, 'reader'), {
      users: ['u'],
      mail,
      extra: `mail_location = mbox:${mail}/%u\nmail_plugins = quota\nplugin {\n  quota = dirsize:User quota\n  quota_rule = *:bytes=5000\n}\n`,
    });
    try {
      const replies: string[] = [];
      for (const to of ['u', 'u+Box', 'u', 'u', 'u+Free', 'u+Free']) {
        replies.push((await send(port, [to], letter(1500))).at(-1)?.slice(0, 9) ?? '');
        const octets = ['inbox', 'Box', 'Free']
          .map((name) => path.join(mail, 'u', name))
          .filter((file) => existsSync(file))
          .reduce((n, file) => n + readFileSync(file).length, 0);
        const kilobytes = Number(/STORAGE\t(\d+)/.exec(await usage(reader, 'u'))?.[1]);
        assert.equal(kilobytes, Math.ceil(octets / 1024), to);
      }
      assert.deepEqual(replies, [...Array(3).fill('250 2.0.0'), '552 5.2.2', '250 2.0.0', '250 2.0.0']);
    } finally {
      await reader.stop();
      await ours.stop();
      folder.remove();
    }
  });

  test('folders in folders', () =>
    withWorld(
      [
        ['quota', 'maildir:User quota'],
        ['quota_rule', '*:bytes=4000'],
        ['quota_rule', 'Arch/*:ignore'],
        ['quota_rule', 'Arch/2020:bytes=+1000'],
      ],
      (world) =>
        sameAtEachStep(world, [
          ...'u u+Arch u+Arch/2020 u+Arch/2020/05 u+Box u+Arch/2021'.split(' ').map((to) => deliver(500, to)),
          expunge('mailbox', 'Arch/2020', 'all'),
          expunge('mailbox', 'Box', 'all'),
          ...'u u+Box u+Arch u+Box u u+Arch/2020'.split(' ').map((to) => deliver(900, to)),
        ]),
      { atRcpt: false, fs: true },
    ));

  test('limits that are kept in the file, where no rule * sets them', () =>
    withWorld(
      [
        ['quota', 'maildir'],
        ['quota_rule', '?:bytes=2000'],
        ['quota_rule', 'Trash:bytes=+100%'],
      ],
      async ({ theirs, ours, ourPort, ourMail }) => {
        const both = async (to: string, octets: number, what: string): Promise<void> => {
          const expected = await send(theirs.lmtpPort, [to], letter(octets));
          assert.deepEqual(await send(ourPort, [to], letter(octets)), expected, what);
          const [a, b] = [theirs.mail, ourMail].map((mail) => path.join(mail, 'u'));
          assert.equal(header(b ?? ''), header(a ?? ''), what);
          assert.equal(sumOf(b ?? ''), sumOf(a ?? ''), what);
        };
        await both('u', 500, 'the rule');
        for (const text of ['700S\n100 1\n', '5C\n100 3\n', '0S\n100 1\n', '9000S\n9500 4\n1 1\n']) {
          for (const mail of [theirs.mail, ourMail]) {
            writeFileSync(path.join(mail, 'u/maildirsize'), text);
            chownSync(path.join(mail, 'u/maildirsize'), mailUid, mailUid);
          }
          for (const [to, octets] of [
            ['u', 300],
            ['u', 300],
            ['u', 10],
            ['u+Trash', 300],
          ] as const)
            await both(to, octets, `${text} ${to} ${octets}`);
        }
        // Dovecot takes what it cannot read for no limits; here mail waits until somebody looks.
        writeFileSync(path.join(ourMail, 'u/maildirsize'), 'hello\n100 1\n');
        assert.match((await send(ourPort, ['u'], letter(10))).at(-1) ?? '', /^451 4\.2\.0 /);
        // The line is written just after the reply.
        await until(
          () => /maildirsize: the limits in its first line cannot be read/.test(ours.mainLog()),
          () => `the log says why: ${ours.mainLog().slice(-300)}`,
        );
      },
      { atRcpt: false },
    ));
});
