// Configurations: the same text to the real Exim's `-bP` and to ours.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import * as fc from 'fast-check';
import { formatDiagnostic } from '../../src/mail/diagnostic.ts';
import {
  mainOptions,
  routerSection,
  transportSection,
  type SectionSpec,
} from '../../src/config/options/tables.ts';
import type { OptionTable } from '../../src/config/options/table.ts';
import { formatOption, formatOptions } from '../../src/config/print.ts';
import { printInstances, printNamedLists } from '../../src/config/print-model.ts';
import { readConfig } from '../../src/config/read.ts';
import { createReport } from '../../src/config/report.ts';
import { lexSetting } from '../../src/config/setting.ts';
import { readValue } from '../../src/config/values.ts';
import { findProgram, needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

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
  const lines = output.split('\n').filter((l) => l !== '' && !/^\d{4}-\d\d-\d\d /.test(l));
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

  /** Defaults that differ because Debian's Exim was built so, or because they name the machine. */
  const ownDefaults = new Set(
    'spool_directory log_file_path pid_file_path process_log_path exim_user exim_group exim_path exim_version primary_hostname qualify_domain qualify_recipient'.split(
      ' ',
    ),
  );

  test('every main option has the default that Exim prints', async () => {
    const theirs = (await exim('\n')).lines.filter((l) => !ownDefaults.has(nameOf(l)));
    const mine = formatOptions(mainOptions, new Map()).filter((l) => !ownDefaults.has(nameOf(l)));
    assert.deepEqual(mine, theirs);
  });

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
  };
  /** Exim works these out from others. */
  const derived = new Set([
    'log_as_local',
    'retry_use_local_part',
    'command_group',
    'message_prefix',
    'message_suffix',
    'check_string',
    'escape_string',
    'file_format',
    'port',
  ]);

  for (const section of [routerSection, transportSection]) {
    for (const driver of section.drivers.keys()) {
      test(`every option of the ${driver} ${section.kind} has the default that Exim prints`, async () => {
        const settings = { driver, ...needed[driver] };
        const lines = Object.entries(settings).map(([n, v]) => (v === '' ? n : `${n} = ${v}`));
        const { lines: printed } = await exim(
          `begin ${section.kind}s\ni:\n ${lines.join('\n ')}\n`,
          section.kind,
          'i',
        );
        const skip = new Set([...derived, ...Object.keys(settings)]);
        // Exim leaves out nothing here but its own hidden doubles.
        const theirs = printed.filter((l) => !l.startsWith('*') && !skip.has(nameOf(l)));
        const mine = defaultsOf(section, driver).filter((l) => !skip.has(nameOf(l)));
        assert.deepEqual(mine, theirs);
      });
    }
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
      const keep = (l: string): boolean => l !== '' && !derived.has(nameOf(l));
      assert.deepEqual(
        printInstances(model, section).filter(keep),
        (await exim(text, section)).lines.filter(keep),
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
      const lines = printNamedLists(model, name).toSorted();
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

function defaultsOf(section: SectionSpec, driver: string): string[] {
  const generic: OptionTable = { ...section.options };
  return [generic, section.drivers.get(driver)?.options ?? {}].flatMap((table) =>
    formatOptions(table, new Map()),
  );
}
