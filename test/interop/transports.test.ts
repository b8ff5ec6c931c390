// The same configuration in the real Exim and in ours: what stands in the files afterwards, and what the logs say.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Exim, startExim } from '../support/exim.ts';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { swaks } from '../support/swaks.ts';

const nobody = 65_534;

const parts =
  'box sym dir owner narrow wide hard must rel taint root nocreate locked maildir big fifo group subdir plain crlf bodyonly headonly cat out fail temp sig shellsig noexec much slow env stdin addresses ignore badcmd hdr reply noreply'.split(
    ' ',
  );

/** Redirected to files, commands and directories. */
const redirected = ['tofile', 'topipe', 'topipefail', 'todir', 'tomany'];

const appendfile = (options: string): string => `  driver = appendfile\n  user = nobody\n${options}`;
const pipe = (options: string): string => `  driver = pipe\n  user = nobody\n${options}`;
const file = (name: string, more = ''): string => appendfile(`  file = BOX/${name}\n${more}`);

const transports: Readonly<Record<string, string>> = {
  box: file('box', '  return_path_add\n  delivery_date_add\n  envelope_to_add\n'),
  sym: file('sym'),
  dir: file('dir'),
  owner: file('owner'),
  narrow: file('narrow'),
  wide: file('wide', '  mode = 0640\n'),
  hard: file('hard'),
  must: file('must', '  file_must_exist\n'),
  rel: appendfile('  file = box/rel\n'),
  taint: appendfile('  file = BOX/$local_part\n'),
  root: '  driver = appendfile\n  user = root\n  file = BOX/root\n',
  nocreate: file('a/b/x', '  no_create_directory\n'),
  locked: file('locked', '  lock_retries = 1\n  lock_interval = 1s\n'),
  maildir: appendfile(
    '  directory = BOX/md\n  maildir_format\n  maildir_tag = ,S=$message_size\n  return_path_add\n  mode = 0640\n',
  ),
  big: file('big', '  message_size_limit = 10\n'),
  fifo: file('fifo'),
  group: file('group', '  check_group\n'),
  subdir: file('one/two/three', '  directory_mode = 0750\n  mode = 0644\n'),
  plain: file(
    'plain',
    '  message_prefix = <<$local_part_data:$return_path>>\\n\n  message_suffix = END\\n\n  check_string = b\n  escape_string = -B\n',
  ),
  crlf: file('crlf', '  use_crlf\n'),
  bodyonly: file('bodyonly', '  body_only\n'),
  headonly: file('headonly', '  headers_only\n'),
  cat: pipe('  command = /bin/cat\n  log_output\n'),
  out: pipe('  command = /bin/echo "some  output" $local_part_data\n  return_output\n'),
  fail: pipe(
    '  command = /bin/sh -c "echo first line; echo second; exit 67"\n  return_fail_output\n  log_fail_output\n',
  ),
  temp: pipe('  command = /bin/sh -c "echo temp line; exit 75"\n  log_defer_output\n'),
  sig: pipe('  command = kill -KILL \\$\\$\n  use_shell\n'),
  shellsig: pipe('  command = /bin/sh -c "exit 139"\n'),
  noexec: pipe('  command = /nonexistent/prog a b\n'),
  much: pipe('  command = /usr/bin/seq 1 100000\n  max_output = 1000\n'),
  slow: pipe('  command = /bin/sleep 30\n  timeout = 1s\n'),
  env: pipe(
    '  command = /bin/sh -c "(env | grep -v ^PWD= | sort; pwd; umask; id -un; id -Gn; cat) > BOX/env"\n  umask = 027\n  home_directory = /tmp\n  environment = "A=b : C=d e"\n  return_path_add\n  envelope_to_add\n',
  ),
  stdin: pipe('  command = /bin/sh -c "cat > BOX/stdin"\n  check_string = From\n  escape_string = +From\n'),
  addresses: pipe(
    '  command = /bin/sh -c "printf \'<%s>\' \\"\\\\$@\\" > BOX/addresses" sh $pipe_addresses "x $local_part_data"\n',
  ),
  ignore: pipe('  command = /bin/sh -c "exit 3"\n  ignore_status\n'),
  badcmd: pipe('  command = /bin/true\n  allow_commands = /bin/false\n'),
  hdr: file(
    'hdr',
    '  headers_add = X-Added: $local_part_data\\nX-Two: 2\n  headers_remove = x-gone : subject\n  headers_rewrite = *@client.test $1@rewritten.test h : *@rewritten.test "Re <$1@twice.test>" fw\n  return_path = bounce-$local_part_data@return.test\n  return_path_add\n',
  ),
  reply: `  driver = autoreply
  user = Debian-exim
  to = $sender_address
  from = Robot <robot@example.test>
  subject = Re: $h_subject:
  text = Hello,\\nI am away.
  headers = X-Loop: yes
  once = BOX/once
  log = BOX/replies
  return_message
`,
  noreply: `  driver = autoreply
  user = Debian-exim
  to = $sender_address
  never_mail = *@client.test
  text = never
`,
};

const rest = `begin acl
open:
  accept
begin routers
${parts.map((p) => `${p}:\n  driver = accept\n  local_parts = ${p}\n  transport = t_${p}\n`).join('')}
tofile:
  driver = redirect
  local_parts = tofile
  data = BOX/filed
  file_transport = address_file
  user = nobody
topipe:
  driver = redirect
  local_parts = topipe
  data = "|/bin/sh -c 'cat > BOX/piped; env | grep -v PWD= | sort >> BOX/piped'"
  pipe_transport = address_pipe
  user = nobody
  transport_home_directory = /tmp
topipefail:
  driver = redirect
  local_parts = topipefail
  data = |/bin/false
  pipe_transport = address_pipe
  user = nobody
todir:
  driver = redirect
  local_parts = todir
  data = BOX/dirred/
  directory_transport = address_directory
  user = nobody
tomany:
  driver = redirect
  local_parts = tomany
  data = BOX/many, |/bin/true, box-two@there.test
  file_transport = address_file
  pipe_transport = address_pipe
  user = nobody
there:
  driver = accept
  domains = there.test
  transport = two
answers:
  driver = accept
  domains = client.test
  transport = inbox
begin transports
${Object.entries(transports)
  .map(([name, text]) => `t_${name}:\n${text}`)
  .join('')}
address_file:
  driver = appendfile
  delivery_date_add
  envelope_to_add
  return_path_add
address_pipe:
  driver = pipe
  return_fail_output
  envelope_to_add
address_directory:
  driver = appendfile
  maildir_format
  envelope_to_add
  check_string = ""
  escape_string = ""
two:
${file('two', '  envelope_to_add\n')}inbox:
${file('inbox')}
begin retry
* * F,1h,1h
begin rewrite
*@old.test $1@new.test h
`;

/** Mailboxes as the cases want to find them. */
function prepare(box: string): void {
  mkdirSync(box, { recursive: true });
  chownSync(box, nobody, nobody);
  // Debian-exim writes here too.
  chmodSync(box, 0o777);
  const make = (name: string, mode: number, uid = nobody, gid = nobody): void => {
    writeFileSync(path.join(box, name), '');
    chmodSync(path.join(box, name), mode);
    chownSync(path.join(box, name), uid, gid);
  };
  make('target', 0o600);
  make('owner', 0o600, 0, 0);
  make('narrow', 0o400);
  make('wide', 0o666);
  make('hard', 0o600);
  make('locked', 0o600);
  make('locked.lock', 0o600);
  make('group', 0o600, nobody, 8);
  linkSync(path.join(box, 'hard'), path.join(box, 'hard2'));
  symlinkSync('target', path.join(box, 'sym'));
  mkdirSync(path.join(box, 'dir'));
  chownSync(path.join(box, 'dir'), nobody, nobody);
}

/** All files under a folder, by path. */
function filesOf(box: string, below = ''): string[] {
  return readdirSync(path.join(box, below), { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? filesOf(box, path.join(below, e.name)) : [path.join(below, e.name)],
  );
}

const id = /\b\w{6}-\w{6,11}-\w{2,4}\b/g;
const date = /\w{3}, {1,2}\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000/g;

/** Takes out what differs by its nature: ids, dates, what the programs say of themselves. */
function plain(text: string, box: string): string {
  return text
    .replaceAll(box, 'BOX')
    .replace(/with esmtp \([^)]*\)/, 'with esmtp')
    .replace(/^Received: .*\n(?:[ \t].*\n)*/gm, 'Received: ...\n')
    .replace(/^From (\S+) {1,2}\w{3} \w{3} .*$/gm, 'From $1 DATE')
    .replace(date, 'DATE')
    .replace(id, 'ID')
    .replace(/\d+\.[MH]\d+P\d+\.mx\.example\.test/g, 'UNIQUE')
    .replace(/,S=\d+$/gm, ',S=N');
}

const content = `From: Joe <joe@client.test>
To: Ann <ann@old.test>, bob@client.test (b)
Subject: =?utf-8?q?s?= here
Message-ID: <original@client.test>
Date: Thu, 26 Nov 2026 00:00:00 +0000
X-Gone: yes

From the start
body line
From the middle
last
`;

describe('local deliveries of both programs', { skip: needsRoot('exim4', 'swaks'), timeout: 180_000 }, () => {
  const folder = temporaryFolder('transports');
  const boxes = { exim: path.join(folder.path, 'be'), ours: path.join(folder.path, 'bo') };
  let exim: Exim;
  let ours: Mailchute;
  const logs = { exim: '', ours: '' };

  before(async () => {
    chmodSync(folder.path, 0o755);
    for (const box of Object.values(boxes)) prepare(box);
    const main = (box: string): string =>
      `BOX = ${box}\nacl_smtp_rcpt = open\nqualify_domain = example.test\nsmtp_accept_max_per_host = 0\n`;
    exim = await startExim(path.join(folder.path, 'exim'), main(boxes.exim), rest);
    const port = await freePort();
    ours = await startMailchute(
      path.join(folder.path, 'ours'),
      `BOX = ${boxes.ours}\nacl_smtp_rcpt = open\nqualify_domain = example.test\nhost_lookup =\ntls_advertise_hosts =\nrfc1413_query_timeout = 0s\nkeep_environment =\ndaemon_smtp_ports = ${port}\n`,
      rest,
    );
    const letter = {
      from: 's@client.test',
      to: [...parts, ...redirected].map((p) => `${p}@here.test`),
      content,
    };
    for (const to of [exim.port, port]) {
      const sent = await swaks(folder.path, to, letter);
      assert.equal(sent.code, 0, sent.output);
    }
    const done = (log: string, name: string): boolean =>
      new RegExp(`(?:=>|\\*\\*|==) ${name}(?:@here\\.test| <)`).test(log);
    await until(
      () => {
        logs.exim = exim.mainLog();
        logs.ours = ours.mainLog();
        return (
          parts.every((p) => done(logs.exim, p) && done(logs.ours, p)) &&
          [logs.exim, logs.ours].every(
            (log) => redirected.every((p) => log.includes(`<${p}@here.test>`)) && log.includes(' R=there '),
          )
        );
      },
      () =>
        `both deal with ${parts.filter((p) => !done(logs.exim, p) || !done(logs.ours, p)).join()}\n${logs.exim}\n--\n${logs.ours}`,
      60_000,
    );
    await until(
      () =>
        Object.values(boxes).every(
          (box) =>
            existsSync(path.join(box, 'inbox')) &&
            /Auto-Submitted: auto-replied\n[^]*away/.test(readFileSync(path.join(box, 'inbox'), 'latin1')),
        ),
      () => `the answers arrive\n${exim.mainLog().slice(-1500)}\n--\n${ours.mainLog().slice(-1500)}`,
      30_000,
    );
  });
  after(async () => {
    await ours?.stop();
    await exim?.stop();
    folder.remove();
  });

  const stateOf = (box: string): Record<string, string> =>
    Object.fromEntries(
      filesOf(box)
        .filter((f) => !['inbox', 'replies', 'fifo'].includes(f) && !/^(?:once|inbox\.lock)/.test(f))
        .map((f): [string, string] => {
          const full = path.join(box, f);
          const { mode, uid, gid } = statSync(full);
          return [
            plain(f, box),
            `${(mode & 0o7777).toString(8)} ${uid} ${gid}\n${plain(readFileSync(full, 'latin1'), box)}`,
          ];
        })
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    );

  test('files have the same content, mode and owner', () => {
    assert.deepEqual(stateOf(boxes.ours), stateOf(boxes.exim));
  });

  test('directories that were made have the same mode and owner', () => {
    for (const name of ['one', 'one/two', 'md', 'md/new', 'md/tmp', 'md/cur']) {
      const of = (box: string): string => {
        const { mode, uid, gid } = statSync(path.join(box, name));
        return `${(mode & 0o7777).toString(8)} ${uid} ${gid}`;
      };
      assert.equal(of(boxes.ours), of(boxes.exim), name);
    }
  });

  test('the logs say the same of each recipient', () => {
    const said = (log: string, box: string, name: string): string =>
      log
        .split('\n')
        .filter((line) =>
          new RegExp(`(?:=>|\\*\\*|==) ${name}(?:@here\\.test| <)|<${name}@here\\.test>: `).test(line),
        )
        .map((line) =>
          plain(line, box)
            .replace(/^[\d-]+ [\d:]+ ID /, '')
            .replace(/ defer \(-?\d+\)/, ' defer')
            .replace(/ (?:DT|QT|S)=\S+/g, '')
            .replace(/hitching post \S+/, 'hitching post')
            .replace(/(output: From \S+) .*/, '$1'),
        )
        .filter((line, i, all) => all.indexOf(line) === i && !line.endsWith('Retry time not yet reached'))
        .join('\n');
    const differences = parts
      .map((name) => ({
        ours: said(logs.ours, boxes.ours, name),
        theirs: said(logs.exim, boxes.exim, name),
      }))
      .filter((d) => d.ours !== d.theirs);
    assert.deepEqual(differences, []);
  });

  test('files and commands that addresses are redirected to are logged alike', () => {
    const said = (log: string, box: string): string[] =>
      log
        .split('\n')
        .filter((line) => redirected.some((name) => line.includes(`<${name}@here.test>`)))
        .map((line) => plain(line, box).replace(/^[\d-]+ [\d:]+ ID /, ''))
        .toSorted();
    assert.deepEqual(said(ours.mainLog(), boxes.ours), said(exim.mainLog(), boxes.exim));
    assert.ok(said(exim.mainLog(), boxes.exim).length >= 7);
  });

  test('the answer of autoreply is the same', () => {
    const answer = (box: string): string => {
      const text = plain(readFileSync(path.join(box, 'inbox'), 'latin1'), box);
      return text
        .split(/^From (?=MAILER-DAEMON DATE)/m)
        .filter((m) => m.includes('Re: '))
        .join('')
        .replace(/^Message-Id: .*$/gim, 'Message-Id')
        .split('\n\n')
        .map((part, i) => (i === 0 ? part.split('\n').toSorted().join('\n') : part))
        .join('\n\n');
    };
    assert.equal(answer(boxes.ours), answer(boxes.exim));
    assert.equal(
      plain(readFileSync(path.join(boxes.ours, 'replies'), 'latin1'), boxes.ours).replace(/^.*\n/, ''),
      plain(readFileSync(path.join(boxes.exim, 'replies'), 'latin1'), boxes.exim).replace(/^.*\n/, ''),
    );
  });
});
