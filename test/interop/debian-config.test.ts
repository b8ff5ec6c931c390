// The configurations that Debian's exim4 makes, and Exim's own default one, as they are: what is still refused in them.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { aclMacros } from '../../src/app/acl-macros.ts';
import { loadProgram } from '../../src/app/program.ts';
import { printLines } from '../../src/config/print-lines.ts';
import { readConfig } from '../../src/config/read.ts';
import { root } from '../support/mailchute.ts';
import { namespaced, needsNamespaces } from '../support/namespace.ts';
import { findProgram, needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('debian-config');
const example = '/usr/share/doc/exim4-base/examples/example.conf';

/** Answers to debconf's questions: what kind of mail server, and through whom it sends. */
const types: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  local: {},
  internet: {},
  smarthost: { dc_smarthost: 'smart.example.test::587' },
  satellite: { dc_smarthost: 'smart.example.test', dc_readhost: 'example.test' },
};

/** Warnings of all four, since all of them have the same transports. Nothing is refused. */
const warned: readonly string[] = [
  'SMTP authentication is not implemented yet: mail for hosts that match hosts_try_auth waits in the queue',
];

/** As `update-exim4.conf` writes it from Debian's template. */
async function generated(type: string, answers: Readonly<Record<string, string>>): Promise<string> {
  const from = path.join(folder.path, type);
  cpSync('/etc/exim4', from, { recursive: true });
  const conf = path.join(from, 'update-exim4.conf.conf');
  let text = readFileSync(conf, 'utf8');
  const all = { dc_eximconfig_configtype: type, dc_other_hostnames: 'example.test', ...answers };
  for (const [name, value] of Object.entries(all))
    text = text.replace(new RegExp(`^${name}=.*$`, 'm'), `${name}='${value}'`);
  writeFileSync(conf, text);
  const file = path.join(folder.path, `${type}.conf`);
  const { code, output } = await runToEnd('/usr/sbin/update-exim4.conf', ['-o', file, '-d', from]);
  assert.equal(code, 0, output);
  chmodSync(file, 0o644);
  return file;
}

/** What `mailchute check` complains about. */
function complaints(file: string): string[] {
  return loadProgram(file, new Map())
    .diagnostics.filter((d) => d.severity !== 'note')
    .map((d) => `${d.message}${d.hint === undefined ? '' : ` (${d.hint})`}`);
}

/** `-bP config` of both, without what Exim's built-in macros let in and ours do not. */
async function sameLines(file: string, ours: RegExp): Promise<void> {
  const { output } = await runToEnd(findProgram('exim4') ?? 'exim4', ['-C', file, '-bP', 'config']);
  const theirs = output.split('\n').filter((l) => !/^\d{4}-\d\d-\d\d /.test(l) && !ours.test(l));
  const ask = { admin: true, withoutNames: false, hostname: 'mx.example.test' };
  const mine = printLines(readConfig(file, { builtIn: aclMacros() }).lines, ask);
  assert.deepEqual([...mine.filter((l) => !ours.test(l)), ''], theirs);
}

/** Local, through aliases, to the system's users, elsewhere by the DNS, nowhere, and what is no address. */
const asked: readonly string[] = [
  'root',
  'root@example.test',
  'postmaster@example.test',
  'Postmaster@EXAMPLE.TEST',
  'mailchute-nobody@example.test',
  'real-mail@example.test',
  'mail+folder@example.test',
  'root@localhost',
  'who@two.test',
  'who@a.test',
  'who@nullmx.test',
  'who@nothere.test',
  'who@fail.test',
  'who@local.test',
  'who@[192.0.2.1]',
  'who%two.test@example.test',
  '.hidden@two.test',
  '@two.test',
  'two words@two.test',
];

const zone = `${readFileSync(path.join(import.meta.dirname, 'routing-zone.txt'), 'utf8')}
smart.example.test 300 A 192.0.2.25
`;

/** Each part of the output under its name. */
function partsOf(output: string): ReadonlyMap<string, string> {
  const parts = output.split(/^== /m).slice(1);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf('\n');
      // Ours keeps no hosts that cannot be used, so that the width of their column differs.
      const lines = part.slice(end + 1).split('\n');
      const kept = lines.filter((line) => !line.includes('** unusable **'));
      const body = kept.map((line) =>
        line.startsWith('  host') ? line.replace(/\s+/g, ' ').trimEnd() : line,
      );
      return [part.slice(0, end), body.join('\n')];
    }),
  );
}

const noUpdate = existsSync('/usr/sbin/update-exim4.conf') ? false : 'update-exim4.conf is not installed';

suite("Debian's configurations", { skip: needs('exim4') || noUpdate }, () => {
  after(() => folder.remove());

  for (const [type, answers] of Object.entries(types))
    test(type, async () => {
      const file = await generated(type, answers);
      // Its ACL calls recipients out where a file lists them; those of this machine are known by routing.
      const told = complaints(file).filter(
        (c) => !/ has nobody to ask: verify = recipient\/callout /.test(c),
      );
      assert.deepEqual(told, warned);
      assert.ok(loadProgram(file, new Map()).program !== undefined);
      await sameLines(file, /smtputf8_advertise_hosts/i);
    });

  test('-bt is answered as by Exim', { skip: needsNamespaces() }, async () => {
    const commands: string[] = [];
    const exim = findProgram('exim4') ?? 'exim4';
    const ours = path.join(root, 'bin/exim');
    const words = asked.map((a) => `'${a}'`).join(' ');
    for (const [type, answers] of Object.entries(types)) {
      const file = await generated(type, answers);
      commands.push(`echo '== ${type} exim'; ${exim} -C ${file} -bt ${words} 2>/dev/null`);
      commands.push(`echo '== ${type} ours'; ${ours} -C ${file} -bt ${words} 2>/dev/null`);
    }
    const parts = partsOf(await namespaced(folder.path, zone, commands.join('\n')));
    for (const type of Object.keys(types)) {
      const theirs = parts.get(`${type} exim`) ?? '';
      for (const address of ['who@two.test', 'root@example.test'])
        assert.ok(theirs.includes(address), theirs);
      assert.equal(parts.get(`${type} ours`), theirs, type);
    }
  });

  test("Exim's default configuration", { skip: existsSync(example) ? false : `no ${example}` }, () => {
    assert.deepEqual(complaints(example), []);
  });
});
