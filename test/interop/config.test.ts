// Configurations: the same text to the real Exim's `-bP` and to ours.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import * as fc from 'fast-check';
import { formatDiagnostic } from '../../src/mail/diagnostic.ts';
import { derivedOptions } from '../../src/config/derived.ts';
import { instanceTables } from '../../src/config/drivers.ts';
import type { Given } from '../../src/config/model.ts';
import {
  authenticatorSection,
  mainOptions,
  routerSection,
  transportSection,
  type SectionSpec,
} from '../../src/config/options/tables.ts';
import { directMainOptions } from '../../src/config/options/main-direct.ts';
import type { OptionTable } from '../../src/config/options/table.ts';
import { formatOption, formatOptions } from '../../src/config/print.ts';
import { printInstances, printNamedLists } from '../../src/config/print-model.ts';
import { readConfig } from '../../src/config/read.ts';
import { createReport } from '../../src/config/report.ts';
import { lexSetting } from '../../src/config/setting.ts';
import { readValue } from '../../src/config/values.ts';
import { findProgram, needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';
import { defaultDifferences, driverDifferences, requestDifferences } from './print-differences.ts';

const ask = { admin: true, withoutNames: false, hostname: 'mx.example.test' };
const folder = temporaryFolder('config');
const file = path.join(folder.path, 'c');

interface Answer {
  readonly lines: readonly string[];
  /** What is wrong with the file, in Exim's words; absent where it was read. */
  readonly wrong?: string;
}

/** What Exim prints for `-bP words` with this configuration. */
async function exim(text: string, ...words: string[]): Promise<Answer> {
  writeFileSync(file, text, 'latin1');
  chmodSync(file, 0o644);
  const { output } = await runToEnd(findProgram('exim4') ?? 'exim4', ['-C', file, '-bP', ...words]);
  // Exim prints one of its own hidden doubles, `*expand_maildir_use_size_file`.
  const lines = output.split('\n').filter((l) => !/^(?:\d{4}-\d\d-\d\d |\*|$)/.test(l));
  const at = lines.findIndex((l) => l.includes('Exim configuration error'));
  return at < 0 ? { lines } : { lines: [], wrong: (lines[at + 1] ?? '').trim() };
}

/** One setting of a main option, whether or not it works here. */
function ours(name: string, line: string): Answer {
  const setting = lexSetting({ text: line, position: { file, line: 1, column: 1 } });
  const spec = Object.entries(mainOptions).find(([option]) => option === name)?.[1];
  assert.ok(setting !== undefined && spec !== undefined, name);
  const report = createReport();
  const read = readValue(setting, spec, report);
  if (read === undefined) return { lines: [], wrong: report.diagnostics[0]?.message ?? '' };
  const given = {
    value: read.value,
    sources: read.source === undefined ? [] : [read.source],
    position: setting.position,
    hidden: false,
  };
  return { lines: [formatOption(name, spec, new Map([[name, given]]))] };
}

const cases: Readonly<Record<string, readonly string[]>> = {
  recipients_max: [
    '10',
    '0x1F',
    '010',
    '08',
    '-5',
    '+10',
    '5 # x',
    '5x',
    '99999999999',
    '4G',
    '3M',
    '10k',
    '10 K',
    '10KK',
    '',
    '"10"',
    '2147483647',
    '2147483648',
    '0',
  ],
  bounce_return_size_limit: ['0', '1500', '1K', '1024', '3M', '1G', '-1024'],
  check_spool_space: ['0', '1500', '2047K', '1G', '1024', '5M', '-5', '3G'],
  auto_thaw: ['1w2d3h4m5s', '90m', '90', '1s1h', '', '3H', '1w1w', '1h30', '0s', '1h x', '99999s', '"3h"'],
  delay_warning: ['4h:8h:24h', '', '0s', '0s:1h', '4h:8x', '1h : 2h'],
  queue_only_load: ['3.5', '3', '3.51239', 'x', '0x8', '3.', '.5', '0.125'],
  smtp_banner: [
    'plain text',
    '"a\\nb\\tc\\x41\\101\\q\\"z"',
    '"abc',
    '"abc" def',
    'ab\\nc',
    '',
    '""',
    '"\\b\\f\\v"',
    'a # b',
    '"  x  "',
    '"\\x4z\\8\\1234"',
  ],
  log_timezone: ['yes', 'no', 'TRUE', 'false', '', 'maybe', 'true x'],
  helo_allow_chars: ['_', '"_"'],
  local_interfaces: ['127.0.0.1 : ::::1', '<; 127.0.0.1 ; ::1'],
  queue_run_max: ['5', '$x', '0x5'],
  smtp_receive_timeout: ['90s', 'foo', '1h'],
  message_size_limit: ['10M', '10k', '100'],
};

suite('configurations', { skip: needs('exim4') }, () => {
  after(() => folder.remove());

  for (const [name, values] of Object.entries(cases)) {
    test(`values of ${name}`, async () => {
      for (const value of values) {
        const line = `${name} = ${value}`;
        assert.deepEqual(ours(name, line.trimEnd()), await exim(`${line}\n`, name), line);
      }
    });
  }

  test('switches without values, and what follows them', async () => {
    for (const line of [
      'log_timezone',
      'no_log_timezone',
      'not_log_timezone',
      'no_log_timezone = yes',
      'log_timezone x',
      'hide log_timezone',
    ])
      assert.deepEqual(ours('log_timezone', line), await exim(`${line}\n`, 'log_timezone'), line);
    for (const line of ['recipients_max', 'recipients_max 5'])
      assert.deepEqual(ours('recipients_max', line), await exim(`${line}\n`, 'recipients_max'));
  });

  test('every main option has the default that Exim prints', async () => {
    const same = (l: string): boolean => !defaultDifferences.has(nameOf(l)) && !named.has(nameOf(l));
    const theirs = (await exim('\n')).lines.filter(same);
    const mine = formatOptions(mainOptions, new Map()).filter((l) => same(l) && !isOwn(l));
    assert.deepEqual(mine, theirs);
    for (const name of defaultDifferences.keys()) assert.ok(Object.hasOwn(mainOptions, name), name);
  });
  /** Mailchute's own, which Exim has no answer for. */
  const isOwn = (l: string): boolean => Object.hasOwn(directMainOptions, nameOf(l));
  /** Worked out from the machine's name: compared below. */
  const named = new Set(['primary_hostname', 'qualify_domain', 'qualify_recipient']);

  /** Of each driver, options that it needs. */
  const needed: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    accept: { verify_only: '' },
    ipliteral: { verify_only: '' },
    dnslookup: { verify_only: '' },
    iplookup: { hosts: '127.0.0.1', port: '7' },
    manualroute: { route_list: '* a' },
    queryprogram: { command: '/x', command_user: 'mail' },
    redirect: { data: 'x' },
    appendfile: { file: '/x' },
    lmtp: { socket: '/x' },
    cram_md5: { public_name: 'X', server_secret: 'x' },
    dovecot: { server_socket: '/x', public_name: 'X' },
  };
  /** Debian's Exim is built without them, or starts a library that needs a configuration of its own. */
  const absent = new Set(['gsasl', 'heimdal_gssapi', 'cyrus_sasl']);

  for (const section of [routerSection, transportSection, authenticatorSection]) {
    for (const driver of section.drivers.keys()) {
      if (absent.has(driver)) continue;
      test(`every option of the ${driver} ${section.kind} has the default that Exim prints`, async () => {
        const settings = { driver, ...needed[driver] };
        const lines = Object.entries(settings).map(([n, v]) => (v === '' ? n : `${n} = ${v}`));
        const { lines: printed } = await exim(
          `begin ${section.kind}s\ni:\n ${lines.join('\n ')}\n`,
          section.kind,
          'i',
        );
        const differs = (l: string): boolean =>
          Object.hasOwn(settings, nameOf(l)) ||
          nameOf(l) === 'public_name' ||
          driverDifferences.has(`${section.kind} ${driver} ${nameOf(l)}`);
        const theirs = printed.filter((l) => !differs(l));
        assert.ok(theirs.length > 5);
        assert.deepEqual(
          defaultsOf(section, driver, settings).filter((l) => !differs(l)),
          theirs,
        );
      });
    }
  }

  test('defaults that follow from other options', async () => {
    const transports = [
      'driver = smtp\n protocol = lmtp',
      'driver = pipe\n use_bsmtp',
      'driver = appendfile\n file = /x\n use_bsmtp',
      'driver = appendfile\n file = /x\n mbx_format',
      'driver = appendfile\n directory = /x\n maildir_format',
    ];
    for (const text of transports) await sameInstance('transport', text);
    const conditions = 'check_local_user,condition = yes,local_parts = a,senders = a,require_files = /x';
    for (const text of [...conditions.split(','), 'domains = a', 'local_part_suffix = +*'])
      await sameInstance('router', `driver = accept\n verify_only\n ${text}`);
  });

  /** All options of one instance, printed by both; whether they work here does not matter. */
  async function sameInstance(kind: 'router' | 'transport', text: string): Promise<void> {
    const theirs = await exim(`begin ${kind}s\ni:\n ${text}\n`, kind, 'i');
    const section = kind === 'router' ? routerSection : transportSection;
    const settings = Object.fromEntries(
      text.split('\n').map((line): [string, string] => {
        const [name = '', value = ''] = line.trim().split(' = ');
        return [name, value];
      }),
    );
    assert.deepEqual(defaultsOf(section, settings['driver'] ?? '', settings), theirs.lines, text);
  }

  test('every form of -bP', async () => {
    const inner = path.join(folder.path, 'inner');
    writeFileSync(inner, 'smtp_banner = hello   "x   y"  z\n');
    const text = `AAA = x
hide recipients_max   =    5
hide strip_trailing_dot = no
local_interfaces = <; 127.0.0.1 ; \\
    ::1
.include ${inner}
keep_environment = AB : ^C
add_environment =
domainlist d = a : b
hide domainlist hidden = c
hostlist d = 1.2.3.4
tls_advertise_hosts =
begin acl
a:
 accept   hosts   = :
   domains = d
begin routers
r1:
  driver = accept
  transport = t
hide  condition = yes
r2:
  driver = manualroute
  route_list = * a
  transport = t2
begin transports
t:
  driver = smtp
  protocol = lmtp
  hosts = 192.0.2.1
t2:
  driver = lmtp
  socket = /x
begin retry
*  *  F,2h,15m
begin authenticators
c:
  driver = cram_md5
  public_name = X
  client_secret = y
hide  client_name = y
`;
    writeFileSync(file, text);
    chmodSync(file, 0o644);
    chmodSync(folder.path, 0o755);
    const requests =
      `config;-n config;config_file;configure_file;primary_hostname qualify_domain qualify_recipient
-n primary_hostname;router_list;transport_list;authenticator_list;authenticators;macro AAA;macro ZZZ;-n macro AAA
router r1;router r9;router;router r1 transport_list;transports;-n routers;+d;-n +d;+x;local_scan;nonsense
recipients_max log_timezone;no_queue_only;-n queue_only;environment;-n environment;hosts_randomize
acl_smtp_rcpt nonsense;authenticator c;routers;-n never_users deliver_queue_load_max;transport`.split(
        /[;\n]/,
      );
    for (const request of requests) {
      assert.ok(!requestDifferences.has(request), request);
      assert.deepEqual(
        await bothPrint(request.split(' '), 'root'),
        await bothPrint(request.split(' '), 'root', 'exim'),
        request,
      );
    }
    for (const request of requestDifferences.keys()) {
      if (request.startsWith('macro')) continue;
      assert.notDeepEqual(
        await bothPrint(request.split(' '), 'root'),
        await bothPrint(request.split(' '), 'root', 'exim'),
        request,
      );
    }
    // Somebody who is no admin user.
    for (const request of [
      'config',
      '+d',
      'recipients_max strip_trailing_dot',
      '-n recipients_max',
      'macros',
      'router r1',
    ])
      assert.deepEqual(
        await bothPrint(request.split(' '), 'nobody'),
        await bothPrint(request.split(' '), 'nobody', 'exim'),
        request,
      );
  });

  test('-bV has the lines of Exim', async () => {
    writeFileSync(file, '\n');
    chmodSync(file, 0o644);
    const words = ['-C', `/nowhere/x:${file}`, '-bV'];
    const ours = (await runToEnd(path.resolve('bin/exim'), words)).output.split('\n');
    const theirs = (await runToEnd(findProgram('exim4') ?? '', words)).output.split('\n');
    const labelled = (lines: readonly string[], label: string): string[] =>
      (lines.find((l) => l.startsWith(label)) ?? '').slice(label.length).trim().split(' ');
    for (const label of ['Support for:', 'Lookups (built-in):', 'Routers:', 'Transports:']) {
      const known = new Set(labelled(theirs, label).flatMap((item) => item.split('/')));
      const items = labelled(ours, label).flatMap((item) => item.split('/'));
      // Debian builds Exim without Redis, and lookups in JSON as a module.
      assert.deepEqual(
        items.filter((item) => !known.has(item) && item !== 'redis' && item !== 'json'),
        [],
        label,
      );
    }
    for (const label of ['Configuration file search path is', 'Configuration file is'])
      assert.deepEqual(labelled(ours, label), labelled(theirs, label));
  });

  test('built-in macros have the names that Exim gives them', async () => {
    writeFileSync(file, '\n');
    const theirs = new Set((await bothPrint(['macro_list'], 'root', 'exim')).lines);
    const ours = (await bothPrint(['macro_list'], 'root')).lines.filter((l) => l !== '');
    assert.ok(ours.length > 500);
    // Ours alone, and of what Debian's Exim is built without.
    const own =
      /^_(?:HAVE_(?:MAILCHUTE|LOOKUP_REDIS)|OPT_MAIN_(?:REDIS_SERVERS|DIRECT_DELIVERY_.*)|(?:OPT|DRIVER)_(?:STORE|STORES|DIRECTORY|DIRECTORIES)_.*)$/;
    assert.deepEqual(
      ours.filter((name) => !theirs.has(name) && !own.test(name)),
      [],
    );
  });

  test('-D and -C as Exim takes them', async () => {
    writeFileSync(file, 'smtp_banner = [ABC] [ABCD] [xABCx] [abc]\n');
    chmodSync(file, 0o644);
    const cases = [
      ['-DABC=y'],
      ['-DABC'],
      ['-D ABC = y z'],
      ['-DABC==y'],
      ['-Dabc=y'],
      ['-D', 'ABC=y'],
      ['-DABC=y', '-DABCD=z'],
      ['-DABCD=z', '-DABC=y'],
      ['-DABC=1', '-DABC=2'],
      ['-D_ABC=1'],
      ['-DABC y'],
      ['-DABC-=y'],
      'ABCDEFGHIJK'.split('').map((c) => `-DX${c}=1`),
    ];
    for (const words of cases)
      assert.deepEqual(
        await bothPrint(['smtp_banner'], 'root', 'ours', words),
        await bothPrint(['smtp_banner'], 'root', 'exim', words),
        words.join(' '),
      );
    for (const list of [`/nowhere/x:${file}`, `${file}:/nowhere/x`])
      assert.deepEqual(
        await bothPrint(['config_file'], 'root', 'ours', [], list),
        await bothPrint(['config_file'], 'root', 'exim', [], list),
      );
    assert.equal((await bothPrint(['config_file'], 'root', 'ours', [], '/nowhere/x:/nowhere/y')).code, 1);
  });

  /** What a program says to `-bP`, without its own time stamps and what it is called. */
  async function bothPrint(
    words: readonly string[],
    user: 'root' | 'nobody',
    program: 'exim' | 'ours' = 'ours',
    defines: readonly string[] = [],
    config = file,
  ): Promise<{ readonly code: number | string | null; readonly lines: readonly string[] }> {
    const command = program === 'exim' ? (findProgram('exim4') ?? '') : path.resolve('bin/exim');
    const [first = '', ...rest] = words;
    const asked = first === '-n' ? ['-n', '-bP', ...rest] : ['-bP', ...words];
    const all = [command, '-C', config, ...defines, ...asked];
    const environment = ['env', '-i', `PATH=${process.env['PATH'] ?? ''}`, 'AB=1', 'CD=2', 'EF=3'];
    const [name = '', ...line] =
      user === 'root'
        ? [...environment, ...all]
        : ['setpriv', '--reuid=nobody', '--clear-groups', ...environment, ...all];
    const { code, output } = await runToEnd(name, line);
    const lines = output
      .split('\n')
      .filter((l) => !/^(?:\d{4}-\d\d-\d\d |LOG: |$)/.test(l) || l === '')
      .map((l) => l.replace(/^exim(?: abandoned)?: /, ''));
    return { code, lines };
  }

  test('routers and transports with their options set', async () => {
    const text = `domainlist local_domains = example.test
begin routers
users:
        transport = box
        domains = +local_domains : *.example.com
        driver = manualroute
        route_list = "* 127.0.0.1 byname"
        self = send
        condition = \${if eq{a}{a}}
        condition = yes
        headers_add = "X: 1\\n 2"
        headers_add = Y: 2
        headers_remove = a : b
        headers_remove = c::d : <; x
        no_more
        no_verify
        local_part_suffix = +*
        local_part_suffix_optional
begin transports
tcp:
        driver = smtp
        protocol = lmtp
        port = 2600
        allow_localhost
        hosts_try_fastopen =
        max_rcpt = 0x20
        command_timeout = 90s
        no_multi_domain
box:
        driver = lmtp
        socket = /tmp/\\
                # a comment
                sink.sock
        batch_max = 200
        timeout = 1h
`;
    writeFileSync(file, text);
    const { model, diagnostics } = readConfig(file);
    assert.ok(model, diagnostics.map(formatDiagnostic).join());
    for (const section of ['routers', 'transports'] as const) {
      assert.deepEqual(
        printInstances(model, section, ask).filter((l) => l !== ''),
        (await exim(text, section)).lines,
      );
    }
  });

  test('named lists', async () => {
    const text =
      'domainlist a = x : "y"\nhostlist a = "q : r"\naddresslist_cache b =\nlocalpartlist c = <; 1 ; 2\n';
    for (const name of ['a', 'b', 'c']) {
      writeFileSync(file, text);
      const { model } = readConfig(file);
      assert.ok(model);
      const lines = printNamedLists(model, name, ask).toSorted();
      assert.deepEqual(lines, (await exim(text, `+${name}`)).lines.toSorted());
    }
  });

  /** The banner that a text sets, or what is wrong. */
  function ourBanner(text: string): Answer {
    writeFileSync(file, text, 'latin1');
    const { model, diagnostics } = readConfig(file);
    const wrong = diagnostics.find((d) => d.severity === 'error');
    if (wrong !== undefined) return { lines: [], wrong: formatDiagnostic(wrong) };
    assert.ok(model);
    return { lines: [formatOption('smtp_banner', mainOptions.smtp_banner, model.mainGiven)] };
  }

  test('comments, continuation, macros and conditionals in any mixture', async () => {
    const setting = fc
      .tuple(
        fc.constantFrom('AA', 'AB', 'BB', 'CC', 'aAAa'),
        fc.constantFrom(
          '',
          'x ',
          'AA',
          ' AB\\\n\\\n y',
          '\\\n # AA\n BB',
          ' BB # c',
          '\\ \n\n',
          '_HAVE_IPV6',
        ),
      )
      .map(([name, value]) => `${name} == ${value}\n`);
    const plain = fc.constantFrom('\n', '  # AA \\\n', '\t\n', 'AAA = AA\n', '.ifdef AB\nCC = 1\n.endif\n');
    const { block } = fc.letrec<{ block: string; branch: string }>((tie) => ({
      branch: fc
        .tuple(
          fc.constantFrom(
            '.ifdef AA',
            '.ifndef CC',
            '.ifdef _HAVE_IPV6',
            '.ifdef DD',
            '.ifdef DD AA x',
            '.ifndef AA DD',
          ),
          tie('block'),
          fc.constantFrom(
            '',
            '.else\n',
            '.elifdef BB\n',
            '.elifndef BB\nAB == 5\n.else x\n',
            '.else\nAA == 3\n.else\n',
          ),
          tie('block'),
        )
        .map(([open, a, middle, b]) => `${open}\n${a}${middle}${b}.endif\n`),
      block: fc
        .array(
          fc.oneof(
            { depthSize: 'small' },
            { arbitrary: setting, weight: 6 },
            { arbitrary: plain, weight: 1 },
            tie('branch'),
          ),
          {
            maxLength: 3,
          },
        )
        .map((parts) => parts.join('')),
    }));
    const text = fc
      .tuple(
        block,
        fc.constantFrom('AA AB x', 'BBAA\\\n  BB', '_HAVE_IPV6 CC', '<AB>\\\n # AA\n AAA BB'),
        block,
      )
      .map(([a, banner, b]) => `AA = one\nAB = two AA\nBB = AB AA\n${a}smtp_banner = ${banner}\n${b}`);
    const texts = fc.sample(text, { numRuns: 250, seed: 20 });
    let read = 0;
    for (const text of texts) {
      const theirs = await exim(text, 'smtp_banner');
      const mine = ourBanner(text);
      assert.equal(
        mine.wrong === undefined,
        theirs.wrong === undefined,
        `${text}\n--- ${mine.wrong} / ${theirs.wrong}`,
      );
      if (mine.wrong !== undefined) continue;
      read++;
      assert.deepEqual(mine.lines, theirs.lines, text);
    }
    assert.ok(read > 50, `only ${read} of the texts are configurations`);
  });
});

function nameOf(line: string): string {
  return line.replace(/ =.*/s, '').replace(/^no_/, '');
}

/** What -bP prints for an instance with these settings. */
function defaultsOf(
  section: SectionSpec,
  driver: string,
  settings: Readonly<Record<string, string>>,
): string[] {
  const position = { file, line: 1, column: 1 };
  const [generic, own] = instanceTables(section, driver);
  const table: OptionTable = { ...generic, ...own };
  const given = new Map(
    Object.entries(settings).map(([name, text]): [string, Given] => {
      const spec = table[name];
      assert.ok(spec !== undefined, name);
      const source = { text, position };
      const base = { name, negated: false, fullName: name, hidden: false, position };
      const read = readValue(text === '' ? base : { ...base, value: source }, spec, createReport());
      assert.ok(read !== undefined, name);
      return [name, { value: read.value, sources: [source], position, hidden: false }];
    }),
  );
  const style = { derived: derivedOptions(section.kind, driver, given) };
  return [generic, own].flatMap((t) => formatOptions(t, given, style));
}
