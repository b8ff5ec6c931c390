// The real Exim and the real Postfix deliver into our store over both links at once, while Dovecot's IMAP server reads and
// expunges in the same Maildirs: nothing is lost, nothing doubled, and Dovecot finds nothing amiss.
// STORE_LOAD_MESSAGES=10000 sends so many by each of the two; it says on standard output what became of them.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openAcl, pageMain, pageTcp, pageUnix, retrySection } from '../support/configurations.ts';
import { startExim } from '../support/exim.ts';
import { openImap } from '../support/imap.ts';
import { needsRoot } from '../support/peers.ts';
import { findPostfix, startPostfix } from '../support/postfix.ts';
import { temporaryFolder, until } from '../support/process.ts';
import { backlogOf, lineCounter, loadRelay } from '../support/relay-load.ts';
import { startReadStore } from '../support/store.ts';

const perRelay = Number(process.env['STORE_LOAD_MESSAGES'] ?? 240);
const users = Array.from({ length: 12 }, (_, i) => `user${i + 1}`);
const readers = 3;

const postfix = findPostfix();
const skip =
  needsRoot('exim4', 'dovecot', '/usr/lib/dovecot/imap', 'doveadm') ||
  (typeof postfix === 'string' && postfix);

const eximMain = `${pageMain}
smtp_accept_queue_per_connection = 0
smtp_accept_max = 100`;
/** Each message is delivered at once; a run of the queue is for what could not be. */
const eximWords = ['-bd', '-q5s'];

test(`Exim and Postfix, ${perRelay} messages each over UNIX and TCP, while IMAP reads and expunges`, {
  skip,
  timeout: 60_000 + perRelay * 300,
}, async (t) => {
  assert.ok(typeof postfix !== 'string');
  const folder = temporaryFolder('store-load');
  /** In the order they started, which is not that of their end: relays go first. */
  const started: { stop(): Promise<void> }[] = [];
  t.after(async () => {
    for (const one of started.toReversed()) await one.stop();
    folder.remove();
  });
  chmodSync(folder.path, 0o755);
  const end = await startReadStore(path.join(folder.path, 'store'), users);
  started.push(end);
  const { imapPort } = end.dovecot;
  const doveadm = (...words: string[]): Promise<string> => end.dovecot.doveadm(...words);
  const at = (name: string): string => path.join(folder.path, name);

  const exims = {
    'exim-tcp': await startExim(
      at('exim-tcp'),
      eximMain,
      openAcl + pageTcp(end.address) + retrySection,
      eximWords,
    ),
    'exim-unix': await startExim(
      at('exim-unix'),
      eximMain,
      openAcl + pageUnix(end.address).replace(/ # required.*/, '') + retrySection,
      eximWords,
    ),
  };
  started.push(...Object.values(exims));
  const postfixes = {
    'postfix-tcp': await startPostfix(at('postfix-tcp'), postfix.root, `inet:127.0.0.1:${end.address.port}`),
    'postfix-unix': await startPostfix(at('postfix-unix'), postfix.root, `unix:${end.address.socket}`),
  };
  started.push(...Object.values(postfixes));

  const accepted: string[] = [];
  const began = performance.now();
  const saved = lineCounter(at('store/log/mainlog'), /: saved mail to INBOX$/);
  const room = backlogOf(100, () => accepted.length, saved);
  let delivering = true;
  const load = Promise.all(
    Object.entries({ ...exims, ...postfixes }).map(([name, { port }]) =>
      loadRelay({
        name,
        port,
        messages: Math.ceil(perRelay / 2),
        users,
        room,
        accepted: (entry) => accepted.push(entry),
      }),
    ),
  )
    .then(() =>
      until(
        () => saved() >= accepted.length && queued() === 0,
        () => `all is delivered: ${saved()} of ${accepted.length}, ${queued()} queued`,
        60_000,
      ),
    )
    .finally(() => {
      delivering = false;
    });
  const expunged: string[] = [];
  let looks = 0;
  await Promise.all([load, ...Array.from({ length: readers }, (_, i) => read(i))]);
  const seconds = (performance.now() - began) / 1000;

  const present = await inMailboxes();
  const copies = new Map<string, number>();
  for (const entry of [...present, ...expunged]) copies.set(entry, (copies.get(entry) ?? 0) + 1);
  const wrong = accepted.filter((entry) => copies.get(entry) !== 1);
  assert.deepEqual(
    wrong.map((entry) => `${entry}: ${copies.get(entry) ?? 0} times`),
    [],
  );
  assert.equal(copies.size, accepted.length, 'nothing came that was not sent');
  assert.ok(expunged.length > accepted.length / 10, `only ${expunged.length} expunged`);

  // Dovecot agrees with the files, and mending changes nothing.
  const before = await statuses();
  for (const user of users) {
    const maildir = path.join(end.mail, user);
    const files = ['new', 'cur'].flatMap((sub) => readdirSync(path.join(maildir, sub)));
    const bases = files.map((f) => f.replace(/:2,.*$/, ''));
    assert.equal(before.get(user), files.length, user);
    assert.deepEqual(readdirSync(path.join(maildir, 'tmp')), [], user);
    const list = readFileSync(path.join(maildir, 'dovecot-uidlist'), 'latin1');
    const listed = [...list.matchAll(/^\d+ .*:([^:\n]+)$/gm)].map(([, base = '']) =>
      base.replace(/:2,.*$/, ''),
    );
    assert.equal(new Set(listed).size, listed.length, `${user}: a file under two UIDs`);
    // Dovecot forgets what was expunged when it writes the list anew.
    assert.deepEqual(
      bases.filter((base) => !listed.includes(base)),
      [],
      `${user}: a file without a UID`,
    );
  }
  assert.equal(await doveadm('force-resync', '-A', '*'), '');
  assert.deepEqual(await statuses(), before);
  assert.deepEqual((await inMailboxes()).sort(), present.sort());
  assert.doesNotMatch(end.dovecot.log(), /Error|Warning|Panic|Fatal/);
  for (const exim of Object.values(exims))
    assert.doesNotMatch(exim.mainLog(), /Malformed|unexpected|panic| == | \*\* /i);
  for (const one of Object.values(postfixes))
    assert.doesNotMatch(one.log(), /warning|fatal|panic|status=(?!sent)/);
  t.diagnostic(
    `${accepted.length} deliveries accepted in ${seconds.toFixed(0)} s: ${present.length} present, ` +
      `${expunged.length} expunged by ${looks} IMAP sessions, each once`,
  );

  function queued(): number {
    const exim = Object.keys(exims).flatMap((name) => readdirSync(at(`${name}/spool/input`)));
    return exim.length + Object.values(postfixes).reduce((sum, one) => sum + one.queued(), 0);
  }

  /** Looks into the mailboxes that are its own, in turn, and expunges two of three messages that it sees there. */
  async function read(reader: number): Promise<void> {
    const own = users.filter((_, i) => i % readers === reader);
    for (let round = 0; delivering; round++) {
      const user = own[round % own.length] ?? '';
      const imap = await openImap(imapPort, user);
      try {
        await imap.command('SELECT INBOX');
        const answer = await imap.command('UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])');
        const seen = [...answer.matchAll(/FETCH \(UID (\d+) BODY.*\r\nMessage-ID: (\S+)\r\n/gi)];
        const goes = seen.filter(([, uid]) => Number(uid) % 3 !== 0);
        looks++;
        if (goes.length === 0) continue;
        const uids = goes.map(([, uid]) => uid).join(',');
        await imap.command(`UID FETCH ${goes[0]?.[1]} BODY[]`);
        await imap.command(`UID STORE ${uids} +FLAGS.SILENT (\\Deleted)`);
        await imap.command(`UID EXPUNGE ${uids}`);
        expunged.push(...goes.map(([, , id]) => `${id} ${user}`));
      } finally {
        imap.close();
      }
    }
  }

  /** What is there, as `<message-id> user`. */
  async function inMailboxes(): Promise<string[]> {
    const text = await doveadm('-f', 'tab', 'fetch', '-A', 'hdr.message-id', 'ALL');
    const lines = text.trim().split('\n').slice(1);
    return lines.map((line) => line.split('\t')).map(([user, id]) => `${id} ${user}`);
  }

  async function statuses(): Promise<Map<string, number>> {
    const text = await doveadm('-f', 'tab', 'mailbox', 'status', '-A', 'messages', 'INBOX');
    return new Map(
      text
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.split('\t'))
        .map((fields) => [fields[0] ?? '', Number(fields.at(-1))] as const),
    );
  }
});
