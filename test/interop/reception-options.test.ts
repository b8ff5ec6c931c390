// Main options of SMTP reception: the same settings and dialogues with the real Exim and with ours, reply by reply.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { replyReader } from '../support/reply-reader.ts';

const folder = temporaryFolder('reception-options');
// Exim writes its logs as its own user.
chmodSync(folder.path, 0o755);

interface Case {
  readonly name: string;
  readonly main: string;
  /** Command lines, each sent after the reply to the one before; `DATA` is followed by the message. */
  readonly dialogues: readonly (readonly string[])[];
  /** Further sections. */
  readonly acl?: string;
}

const mail = ['EHLO cl.test', 'MAIL FROM:<s@example.test>', 'RCPT TO:<u@example.test>', 'RSET', 'QUIT'];
/** With the fields that a final delivery adds, which must not come from outside. */
const message =
  'Subject: x\r\nTo: a@example.test\r\nReturn-Path: <x@y.example>\r\nDelivery-date: x\r\nEnvelope-to: y\r\nX-a: b\r\n\r\nhello\r\n.';

const cases: readonly Case[] = [
  { name: 'host_reject_connection', main: 'host_reject_connection = 127.0.0.0/8', dialogues: [['QUIT']] },
  {
    name: 'host_reject_connection elsewhere',
    main: 'host_reject_connection = 192.0.2.0/24',
    dialogues: [mail],
  },
  {
    name: 'smtp_accept_reserve',
    main: 'smtp_accept_max = 5\nsmtp_accept_reserve = 5',
    dialogues: [['QUIT']],
  },
  {
    name: 'smtp_reserve_hosts',
    main: 'smtp_accept_max = 5\nsmtp_accept_reserve = 5\nsmtp_reserve_hosts = 127.0.0.1',
    dialogues: [mail],
  },
  {
    name: 'smtp_accept_max_per_connection',
    main: 'smtp_accept_max_per_connection = 1',
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<s@example.test>',
        'RSET',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<u@example.test>',
        'QUIT',
      ],
    ],
  },
  {
    name: 'smtp_accept_max_per_connection by host',
    main: 'smtp_accept_max_per_connection = ${if eq{$sender_host_address}{127.0.0.1}{1}{9}}',
    dialogues: [['EHLO a', 'MAIL FROM:<s@example.test>', 'RSET', 'MAIL FROM:<s@example.test>', 'QUIT']],
  },
  {
    name: 'smtp_active_hostname',
    main: 'smtp_active_hostname = other.example.test\nsmtp_banner = $smtp_active_hostname',
    dialogues: [mail],
  },
  ...[
    '',
    'strip_excess_angle_brackets',
    'strip_trailing_dot',
    'strip_excess_angle_brackets\nstrip_trailing_dot',
  ].map((main) => ({
    name: `forms of addresses with ${main.replace('\n', ', ') || 'no option'}`,
    main: `smtp_max_synprot_errors = 20\n${main}`,
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<<s@example.test>>',
        'RSET',
        'MAIL FROM:<<<>>>',
        'RSET',
        'MAIL FROM:<<s@example.test>',
        'RSET',
        'MAIL FROM:<s@example.test.>',
        'RSET',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<<u@example.test>>',
        'RCPT TO:<<<u@example.test>>',
        'RCPT TO:<u@example.test.>',
        'RCPT TO:<u@example.test..>',
        'RCPT TO:<u@.>',
        'QUIT',
      ],
    ],
  })),
  { name: 'pipelining_advertise_hosts', main: 'pipelining_advertise_hosts =', dialogues: [mail] },
  {
    name: 'hosts_require_helo',
    main: 'hosts_require_helo = 192.0.2.1',
    dialogues: [['MAIL FROM:<s@example.test>', 'RCPT TO:<u@example.test>', 'QUIT']],
  },
  { name: 'smtp_load_reserve', main: 'smtp_load_reserve = 0.0', dialogues: [['QUIT']] },
  {
    name: 'smtp_load_reserve and another host',
    main: 'smtp_load_reserve = 0.0\nsmtp_reserve_hosts = 192.0.2.1',
    dialogues: [['QUIT']],
  },
  {
    name: 'smtp_load_reserve and this host',
    main: 'smtp_load_reserve = 0.0\nsmtp_reserve_hosts = 127.0.0.1',
    dialogues: [['QUIT']],
  },
  { name: 'smtp_load_reserve beyond any load', main: 'smtp_load_reserve = 99999', dialogues: [['QUIT']] },
  { name: 'HELO required', main: '', dialogues: [['MAIL FROM:<s@example.test>', 'QUIT']] },
  {
    name: 'helo_accept_junk_hosts',
    main: 'helo_accept_junk_hosts = 127.0.0.1',
    dialogues: [['HELO a_b!c', 'EHLO [x', 'QUIT']],
  },
  { name: 'junk HELO', main: '', dialogues: [['HELO a_b!c', 'EHLO [x', 'QUIT']] },
  {
    name: 'unqualified addresses',
    main: 'sender_unqualified_hosts = 127.0.0.1\nrecipient_unqualified_hosts = 127.0.0.1\nqualify_domain = example.test',
    dialogues: [['EHLO a', 'MAIL FROM:<s>', 'RCPT TO:<u>', 'RCPT TO:<deny>', 'QUIT']],
  },
  {
    name: 'unqualified senders only',
    main: 'sender_unqualified_hosts = 127.0.0.1\nqualify_domain = example.test',
    dialogues: [['EHLO a', 'MAIL FROM:<s>', 'RCPT TO:<u>', 'QUIT']],
  },
  {
    name: 'recipients_max_reject',
    main: 'recipients_max = 1\nrecipients_max_reject',
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<u@example.test>',
        'RCPT TO:<v@example.test>',
        'DATA',
        'QUIT',
      ],
    ],
  },
  {
    name: 'smtp_accept_max_nonmail_hosts',
    main: 'smtp_accept_max_nonmail = 1\nsmtp_accept_max_nonmail_hosts = 192.0.2.1',
    dialogues: [['EHLO a', 'NOOP', 'NOOP', 'NOOP', 'QUIT']],
  },
  {
    name: 'smtp_accept_max_nonmail',
    main: 'smtp_accept_max_nonmail = 1',
    dialogues: [['EHLO a', 'NOOP', 'NOOP']],
  },
  {
    name: 'acl_smtp_quit and acl_smtp_predata',
    main: 'acl_smtp_quit = q\nacl_smtp_predata = p',
    acl: 'q:\n  accept message = see you\np:\n  deny condition = ${if eq{$rcpt_count}{2}}\n       message = not two\n  accept\n',
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<u@example.test>',
        'RCPT TO:<v@example.test>',
        'DATA',
        'QUIT',
      ],
    ],
  },
  { name: 'check_spool_space', main: 'check_spool_space = 1999G', dialogues: [mail] },
  {
    name: 'header_line_maxsize',
    main: 'header_line_maxsize = 20',
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<u@example.test>',
        `DATA`,
        `Subject: ${'x'.repeat(50)}\r\n\r\nhello\r\n.`,
        'QUIT',
      ],
    ],
  },
  {
    name: 'smtp_ratelimit_mail lets pass',
    main: 'smtp_ratelimit_hosts = *\nsmtp_ratelimit_mail = 1,0.01s,1.5,1s\nsmtp_ratelimit_rcpt = 1,0.01s,1.5,1s',
    dialogues: [
      [
        'EHLO a',
        'MAIL FROM:<s@example.test>',
        'RCPT TO:<u@example.test>',
        'RCPT TO:<v@example.test>',
        'RSET',
        'MAIL FROM:<s@example.test>',
        'QUIT',
      ],
    ],
  },
];

/** Replies with their continuation lines, one text each; ends early where the server closes. */
async function talk(port: number, lines: readonly string[]): Promise<string[]> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const reader = replyReader(socket);
  const replies: string[] = [];
  for (const line of [undefined, ...lines]) {
    if (line !== undefined) socket.write(`${line}\r\n`, 'latin1');
    const reply = await reader.next();
    if (reply === undefined) break;
    replies.push(comparable(reply));
  }
  socket.end();
  return replies;
}

/** Without what is meant to differ: the statuses of RFC 3463, extensions, our banner. */
function comparable(reply: string): string {
  return `${reply}\n`
    .replace(/^(\d{3}[ -])[245]\.\d\.\d /gm, '$1')
    .replace(
      /^250[ -](?:8BITMIME|ENHANCEDSTATUSCODES|CHUNKING|PIPE_?CONNECT|X_PIPE_CONNECT|PRDR|SMTPUTF8|HELP|SIZE.*)\n/gm,
      '',
    )
    .replace(/^250-/gm, '250 ')
    .replace(/^220 mx\.example\.test ESMTP .*/m, '220 mx.example.test ESMTP')
    .replace(/OK id=\S+/, 'OK id=ID')
    .trimEnd();
}

suite('options of SMTP reception', { skip: needs('exim4'), concurrency: 6 }, () => {
  after(() => folder.remove());
  const rest = (acl: string): string => `begin acl
r:
  deny local_parts = deny
       message = no
  accept
${acl}begin routers
a:
  driver = accept
  transport = t
begin transports
t:
  driver = lmtp
  socket = ${folder.path}/nobody
`;
  /** The replies of both programs to each dialogue. */
  async function dialoguesOfBoth(
    main: string,
    acl: string,
    dialogues: readonly (readonly string[])[],
    i: number,
  ): Promise<readonly [ours: string[][], theirs: string[][]]> {
    const options = `acl_smtp_rcpt = r\n${main}`;
    const theirs: string[][] = [];
    const exim = await startExim(
      path.join(folder.path, `exim${i}`),
      `chunking_advertise_hosts =\n${options}`,
      rest(acl),
    );
    try {
      for (const dialogue of dialogues) theirs.push(await talk(exim.port, dialogue));
    } finally {
      await exim.stop();
    }
    const port = await freePort();
    const ours: string[][] = [];
    const mailchute = await startMailchute(
      path.join(folder.path, `ours${i}`),
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${options}`,
      rest(acl),
    );
    try {
      for (const dialogue of dialogues) ours.push(await talk(port, dialogue));
    } finally {
      await mailchute.stop();
    }
    return [ours, theirs];
  }

  /** What a store gets of a message, without its id and the time. */
  async function delivered(
    program: 'exim' | 'ours',
    main: string,
    i: number,
    letter = message,
    acl = '',
    routers = '',
  ): Promise<string> {
    const store = await startScriptedServer({});
    try {
      const where = path.join(folder.path, `${program}-content${i}`);
      if (store.endpoint.kind !== 'unix') throw new Error('the store listens on a socket');
      chmodSync(path.dirname(store.endpoint.path), 0o755);
      chmodSync(store.endpoint.path, 0o777);
      const sections = rest(acl)
        .replace('begin routers\n', `begin routers\n${routers}`)
        .replace(`${folder.path}/nobody`, store.endpoint.path);
      const port = await freePort();
      const options = `acl_smtp_rcpt = r\n${main}`;
      const daemon =
        program === 'exim'
          ? await startExim(where, options, sections)
          : await startMailchute(
              where,
              `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${options}`,
              sections,
            );
      try {
        await talk('port' in daemon ? daemon.port : port, [
          'EHLO cl.test',
          'MAIL FROM:<s@example.test>',
          'RCPT TO:<u@example.test>',
          'DATA',
          letter,
          'QUIT',
        ]);
        await until(() => store.contents.length > 0 || undefined, `${program} delivers`);
        return (store.contents[0] ?? Buffer.alloc(0))
          .toString('latin1')
          .replace(/(?<!\w)E?\w{6}-\w{6}-\w\w/g, (id) => (id.startsWith('E') ? 'EID' : 'ID'))
          .replace(/\w{3}, \d\d? \w{3} \d{4} [\d:]{8} [+-]\d{4}/g, 'DATE');
      } finally {
        await daemon.stop();
      }
    } finally {
      await store[Symbol.asyncDispose]();
    }
  }

  const contents = [
    'received_header_text = Received: by $primary_hostname for $received_for ($sender_rcvhost)\\n\\twith $received_protocol id $message_exim_id',
    'received_header_text =\nno_return_path_remove\nno_envelope_to_remove\nno_delivery_date_remove',
  ];
  contents.forEach((main, i) => {
    test(`the header with ${main.split('\n')[0]}`, async () => {
      assert.equal(await delivered('ours', main, i), await delivered('exim', main, i));
    });
  });

  const submitted = [
    'Subject: x\r\nSender: z@example.test\r\n\r\nhello\r\n.',
    'Resent-To: a@example.test\r\nFrom: f@example.test\r\n\r\nhello\r\n.',
    'From: f@example.test\r\nDate: d\r\nMessage-ID: <i@x.example>\r\n\r\nhello\r\n.',
  ];
  for (const control of ['submission', 'submission/sender_retain'])
    submitted.forEach((letter, i) => {
      test(`control = ${control}, message ${i}`, async () => {
        const [ours, theirs] = await Promise.all(
          (['ours', 'exim'] as const).map((program) =>
            delivered(
              program,
              `acl_smtp_mail = submit\nreceived_header_text = Received: x`,
              10 + i + control.length,
              letter,
              `submit:\n  accept control = ${control}\n`,
            ),
          ),
        );
        assert.equal(ours, theirs);
      });
    });

  test('dsn_from and errors_reply_to', async () => {
    const fails =
      'fails:\n  driver = redirect\n  domains = example.test\n  local_parts = u\n  allow_fail\n  data = :fail: gone\n';
    const bounces = await Promise.all(
      (['ours', 'exim'] as const).map((program) =>
        delivered(
          program,
          'dsn_from = Robot <robot@$qualify_domain>\nerrors_reply_to = Help <help@example.test>',
          51,
          message,
          '',
          fails,
        ),
      ),
    );
    for (const bounce of bounces)
      assert.deepEqual(bounce.split('\r\n\r\n')[0]?.match(/^(?:From|Reply-To): [^\r]*/gm), [
        'Reply-To: Help <help@example.test>',
        'From: Robot <robot@mx.example.test>',
      ]);
  });

  test('freeze_tell', async () => {
    const acl = 'f:\n  accept sender_domains = example.test\n         control = freeze\n  accept\n';
    const notices = await Promise.all(
      (['ours', 'exim'] as const).map((program) =>
        delivered(
          program,
          'acl_smtp_data = f\nfreeze_tell = postmaster, ops@example.test\ndsn_from = Robot <robot@$qualify_domain>\nerrors_reply_to = help@example.test',
          50,
          message,
          acl,
        ),
      ),
    );
    for (const notice of notices) {
      assert.match(notice, /^To: postmaster(?:@mx\.example\.test)?,\s*ops@example\.test\r$/m);
      assert.match(notice, /^From: Robot <robot@mx\.example\.test>\r$/m);
      assert.match(notice, /^Subject: Message frozen on arrival\r$/m);
      assert.match(notice, /^Message ID was frozen on arrival by ACL\.\r$/m);
      assert.match(notice, /^The sender is <s@example\.test>\.\r$/m);
    }
  });

  test('smtp_accept_max_per_host', async () => {
    const main = 'smtp_accept_max_per_host = ${if eq{$sender_host_address}{127.0.0.1}{1}{0}}';
    const answers = async (port: number): Promise<string[]> => {
      const first = connect({ host: '127.0.0.1', port });
      await new Promise((resolve) => first.once('data', resolve));
      const second = await talk(port, ['QUIT']);
      await new Promise<void>((resolve) => {
        first.once('close', () => resolve()).resume();
        first.end('QUIT\r\n');
      });
      return second;
    };
    const exim = await startExim(
      path.join(folder.path, 'exim-perhost'),
      `acl_smtp_rcpt = r\n${main}`,
      rest(''),
    );
    let theirs: string[];
    try {
      theirs = await answers(exim.port);
    } finally {
      await exim.stop();
    }
    const port = await freePort();
    const ours = await startMailchute(
      path.join(folder.path, 'ours-perhost'),
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\nacl_smtp_rcpt = r\n${main}`,
      rest(''),
    );
    try {
      assert.deepEqual(await answers(port), theirs);
      assert.match(
        ours.mainLog(),
        / Connection from \[127\.0\.0\.1\] refused: too many connections from that IP address$/m,
      );
      // The place is free again.
      assert.match((await talk(port, ['QUIT']))[0] ?? '', /^220 /);
    } finally {
      await ours.stop();
    }
  });

  test('mail for a host that wants authentication waits', async () => {
    const sink = await startScriptedServer({ protocol: 'smtp' }, 'tcp');
    const port = await freePort();
    const to = sink.endpoint.kind === 'tcp' ? sink.endpoint.port : 0;
    const ours = await startMailchute(
      path.join(folder.path, 'ours-auth'),
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\nacl_smtp_rcpt = r`,
      `begin acl
r:
  accept
begin routers
a:
  driver = manualroute
  route_list = auth.test 127.0.0.1 ; plain.test 127.0.0.1
  self = send
  transport = \${if eq{$domain}{auth.test}{auth}{plain}}
begin transports
auth:
  driver = smtp
  port = ${to}
  allow_localhost
  hosts_try_auth = <; \${if eq{$host}{127.0.0.1}{$host_address}}
plain:
  driver = smtp
  port = ${to}
  allow_localhost
  hosts_try_auth = <; \${if eq{$host}{192.0.2.1}{$host_address}}
begin retry
* * F,1h,1h
`,
    );
    try {
      for (const domain of ['auth.test', 'plain.test'])
        await talk(port, [
          'EHLO a',
          'MAIL FROM:<s@example.test>',
          `RCPT TO:<u@${domain}>`,
          'DATA',
          message,
          'QUIT',
        ]);
      await until(
        () => /u@plain\.test.* C=/.test(ours.mainLog()) || undefined,
        'delivery without authentication',
      );
      await until(
        () => /== u@auth\.test .*authentication is wanted for this host/.test(ours.mainLog()) || undefined,
        'delivery is put off',
      );
      assert.equal(sink.contents.length, 1);
    } finally {
      await ours.stop();
      await sink[Symbol.asyncDispose]();
    }
  });

  test('verify = header_syntax', async () => {
    const fields = [
      'To: a@example.test',
      'To: a',
      'To: a b@example.test',
      'To: "A B" <a@example.test>, (c) b@example.test',
      'To: <a@example.test',
      'To: undisclosed-recipients:;',
      'To: g: a@example.test, b@example.test;',
      'To:',
      'Cc: a@[192.0.2.1]',
      'From: x@example.test,',
      'From: @example.test',
      'Bcc: "a@example.test',
      'Reply-To: a@example..test',
      'Sender: <>',
      'Subject: a b <',
      'To: a@example.test b@example.test',
      'To: J. Doe <j@example.test>',
    ];
    const dialogue = (field: string): string[] => [
      'EHLO a',
      'MAIL FROM:<s@example.test>',
      'RCPT TO:<u@example.test>',
      'DATA',
      `${field}\r\n\r\nhello\r\n.`,
      'QUIT',
    ];
    const acl = 'd:\n  require verify = header_syntax\n  accept\n';
    const [ours, theirs] = await dialoguesOfBoth('acl_smtp_data = d', acl, fields.map(dialogue), 900);
    fields.forEach((field, i) => assert.deepEqual(ours[i], theirs[i], field));
  });

  cases.forEach(({ name, main, dialogues, acl = '' }, i) => {
    test(name, async () => {
      const [ours, theirs] = await dialoguesOfBoth(main, acl, dialogues, i);
      assert.deepEqual(ours, theirs);
    });
  });
});
