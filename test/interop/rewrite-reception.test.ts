// Rewriting of a message on its way in and to an address it is redirected to, by both programs.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Exim, startExim } from '../support/exim.ts';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { smtpTalk } from '../support/smtp-talk.ts';

const nobody = 65_534;

const rest = `begin acl
mail:
  accept
rcpt:
  accept
data:
  warn
    add_header = X-Seen: $sender_address $recipients $h_to:
  accept
begin routers
alias:
  driver = redirect
  local_parts = alias
  data = target@child.test
noalias:
  driver = redirect
  local_parts = noalias
  no_rewrite
  data = kept@child.test
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  file = BOX/box
  user = nobody
  envelope_to_add
  headers_rewrite = *@in.test $1@out.test t
begin retry
* * F,1h,1h
begin rewrite
\\N^<?([^!@<>]+)!([^!@<>]+)>?$\\N $2@$1 S
*@old.test $1@in.test FTt
*@child.test child-$1@final.test T
*@cond.test "\${if eq{$sender_address}{s@in.test}{$1@yes.test}{$1@no.test}}" c
`.replace('\\N^<?([^', '^\\N<?([^');

const content =
  `From: f@old.test\nTo: A <a@old.test>, k@in.test\nCc: c@cond.test\nSubject: s\nMessage-Id: <m@x.test>\nDate: Thu, 26 Nov 2026 00:00:00 +0000\n\nbody\n`.replaceAll(
    '\n',
    '\r\n',
  );

describe('rewriting at reception', { skip: needsRoot('exim4'), timeout: 90_000 }, () => {
  const folder = temporaryFolder('reception');
  const boxes = { exim: path.join(folder.path, 'be'), ours: path.join(folder.path, 'bo') };
  let exim: Exim;
  let ours: Mailchute;

  before(async () => {
    chmodSync(folder.path, 0o755);
    for (const box of Object.values(boxes)) {
      mkdirSync(box);
      chownSync(box, nobody, nobody);
    }
    const main = (box: string): string =>
      `BOX = ${box}\nacl_smtp_mail = mail\nacl_smtp_rcpt = rcpt\nacl_smtp_data = data\nqualify_domain = example.test\n`;
    exim = await startExim(path.join(folder.path, 'exim'), main(boxes.exim), rest);
    const port = await freePort();
    ours = await startMailchute(
      path.join(folder.path, 'ours'),
      `${main(boxes.ours)}tls_advertise_hosts =\nkeep_environment =\ndaemon_smtp_ports = ${port}\n`,
      rest,
    );
    for (const to of [exim.port, port]) {
      const client = await smtpTalk(to);
      for (const line of [
        'MAIL FROM:<s@old.test>',
        'RCPT TO:<a@old.test>',
        'RCPT TO:<bang.test!joe>',
        'RCPT TO:<alias@here.test>',
        'RCPT TO:<noalias@here.test>',
        'DATA',
        `${content}.`,
      ])
        assert.match(await client.send(`${line}\r\n`), /^[23]/, line);
      client.close();
    }
    for (const box of Object.values(boxes))
      await until(
        () => existsSync(path.join(box, 'box')) && read(box).split('Envelope-to: ').length === 5,
        () => `four copies in ${readdirSync(box).join()}\n${exim.mainLog()}\n--\n${ours.mainLog()}`,
        30_000,
      );
    // The log follows the record.
    await until(
      () => [exim, ours].every((program) => program.mainLog().includes(' Completed')),
      'both are through',
    );
  });
  after(async () => {
    await ours?.stop();
    await exim?.stop();
    folder.remove();
  });

  const read = (box: string): string => readFileSync(path.join(box, 'box'), 'latin1');

  /** The copies, in the order of their recipients. */
  const copies = (box: string): string[] =>
    read(box)
      .split(/^From (?=\S+ \w{3} )/m)
      .slice(1)
      .map((m) => m.replace(/^(\S+) .*$/m, '$1').replace(/^Received: .*\n(?:[ \t].*\n)*/gm, ''))
      .toSorted();

  test('copies are the same', () => {
    const theirs = copies(boxes.exim);
    assert.deepEqual(copies(boxes.ours), theirs);
    assert.match(theirs.join(''), /^Envelope-to: joe@bang\.test$/m);
    assert.match(theirs.join(''), /^To: A <a@out\.test>, k@out\.test$/m);
    assert.match(theirs.join(''), /^Cc: c@yes\.test$/m);
  });

  test('logs name the same addresses', () => {
    const said = (log: string): string[] =>
      log
        .split('\n')
        .flatMap((line) => / (<= \S+|(?:=>|->) \S+ <\S+>(?: <\S+>)?)/.exec(line)?.[1] ?? [])
        .toSorted();
    assert.deepEqual(said(ours.mainLog()), said(exim.mainLog()));
    assert.ok(said(exim.mainLog()).some((line) => line.includes('child-target')));
  });
});
