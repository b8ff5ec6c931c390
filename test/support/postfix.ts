// A real Postfix on loopback. Its package conflicts with exim4's, so it is unpacked, never installed, and runs from there.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { root } from './mailchute.ts';
import { findProgram } from './peers.ts';
import { freePort, isListening, start, until } from './process.ts';

export interface Postfix {
  readonly port: number;
  log(): string;
  /** Messages in its queue, in whatever state. */
  queued(): number;
  stop(): Promise<void>;
}

/** Where the package is kept unpacked. Root runs what lies there, so it is no folder that others may make. */
const unpacked = path.join(root, 'node_modules/.cache/mailchute-postfix');

/**
 * The folder of Debian's package postfix, unpacked: from `POSTFIX_ROOT` where that is set, else fetched with apt-get once.
 * @returns a text that says why there is none
 */
export function findPostfix(): { readonly root: string } | string {
  const given = process.env['POSTFIX_ROOT'];
  if (given !== undefined) return existsSync(master(given)) ? { root: given } : `needs postfix in ${given}`;
  if (process.geteuid?.() !== 0) return 'needs root';
  if (existsSync(master(unpacked))) return { root: unpacked };
  if (findProgram('apt-get') === undefined || findProgram('dpkg') === undefined)
    return 'needs apt-get for postfix';
  mkdirSync(path.dirname(unpacked), { recursive: true });
  const folder = mkdtempSync(`${unpacked}-`);
  const run = (program: string, ...words: string[]): boolean =>
    spawnSync(program, words, { cwd: folder, stdio: 'ignore', timeout: 60_000 }).status === 0;
  try {
    if (!run('apt-get', 'download', 'postfix')) {
      run('apt-get', 'update', '-qq');
      if (!run('apt-get', 'download', 'postfix')) return 'needs postfix, which apt-get did not bring';
    }
    const file = readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (file === undefined || !run('dpkg', '-x', file, 'root'))
      return 'needs postfix, whose package has a fault';
    chmodSync(path.join(folder, 'root'), 0o755);
    // Whoever else unpacked it meanwhile has the same.
    if (!existsSync(unpacked)) renameSync(path.join(folder, 'root'), unpacked);
    return { root: unpacked };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function master(folder: string): string {
  return path.join(folder, 'usr/lib/postfix/sbin/master');
}

/** Debian has them everywhere, and nothing else here runs as them (postconf(5), mail_owner and setgid_group). */
const mailOwner = 'list';
const setgidGroup = 'games';

function numberOf(file: string, name: string): number {
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find((l) => l.startsWith(`${name}:`));
  return Number(line?.split(':')[2] ?? Number.NaN);
}

/** name, type, private, chroot, wakeup, processes, command (master(5)); nothing runs in a chroot. */
const services = `pickup    unix  n  -  n  60  1  pickup
cleanup   unix  n  -  n  -  0  cleanup
qmgr      unix  n  -  n  300 1  qmgr
rewrite   unix  -  -  n  -  -  trivial-rewrite
bounce    unix  -  -  n  -  0  bounce
defer     unix  -  -  n  -  0  bounce
trace     unix  -  -  n  -  0  bounce
verify    unix  -  -  n  -  1  verify
flush     unix  n  -  n  1000? 0 flush
proxymap  unix  -  -  n  -  -  proxymap
smtp      unix  -  -  n  -  -  smtp
relay     unix  -  -  n  -  -  smtp
showq     unix  n  -  n  -  -  showq
error     unix  -  -  n  -  -  error
retry     unix  -  -  n  -  -  error
discard   unix  -  -  n  -  -  discard
lmtp      unix  -  -  n  -  -  lmtp
anvil     unix  -  -  n  -  1  anvil
scache    unix  -  -  n  -  1  scache
tlsmgr    unix  -  -  n  1000? 1 tlsmgr
postlog   unix-dgram n - n -  1  postlogd
`;

/**
 * Starts Postfix in `folder`; mail for example.test goes to `nexthop` by LMTP: `inet:127.0.0.1:24` or `unix:/path`.
 * @param postfix what `findPostfix` gave
 * @param extra lines for main.cf
 */
export async function startPostfix(
  folder: string,
  postfix: string,
  nexthop: string,
  extra = '',
): Promise<Postfix> {
  const port = await freePort();
  const config = path.join(folder, 'etc');
  const queue = path.join(folder, 'queue');
  const data = path.join(folder, 'data');
  const log = path.join(folder, 'maillog');
  const owner = numberOf('/etc/passwd', mailOwner);
  const group = numberOf('/etc/group', setgidGroup);
  for (const dir of [folder, config, queue, path.join(queue, 'pid')]) {
    mkdirSync(dir, { recursive: true });
    chmodSync(dir, 0o755);
  }
  const own = (dir: string, mode: number, gid = 0): void => {
    mkdirSync(dir, { recursive: true });
    chownSync(dir, owner, gid);
    chmodSync(dir, mode);
  };
  own(data, 0o700);
  const states = [
    'active',
    'bounce',
    'corrupt',
    'defer',
    'deferred',
    'flush',
    'hold',
    'incoming',
    'saved',
    'trace',
  ];
  for (const name of [...states, 'private']) own(path.join(queue, name), 0o700);
  own(path.join(queue, 'maildrop'), 0o730, group);
  own(path.join(queue, 'public'), 0o710, group);
  const libraries = path.join(postfix, 'usr/lib/postfix');
  writeFileSync(
    path.join(config, 'main.cf'),
    `compatibility_level = 3.6
myhostname = mx.example.test
mydestination =
mynetworks = 192.0.2.0/24
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relay_domains = example.test
relay_transport = lmtp:${nexthop}
relay_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
smtputf8_enable = no
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = none
lmtp_tls_security_level = none
in_flow_delay = 0
maillog_file = ${log}
maillog_file_prefixes = ${folder}
mail_owner = ${mailOwner}
setgid_group = ${setgidGroup}
queue_directory = ${queue}
data_directory = ${data}
config_directory = ${config}
daemon_directory = ${libraries}/sbin
shlib_directory = ${libraries}
command_directory = ${postfix}/usr/sbin
import_environment = MAIL_CONFIG LD_LIBRARY_PATH LANG=C
${extra}
`,
  );
  writeFileSync(path.join(config, 'master.cf'), `127.0.0.1:${port} inet  n  -  n  -  -  smtpd\n${services}`);
  const running = start(master(postfix), ['-c', config, '-d'], {
    env: { LD_LIBRARY_PATH: libraries, MAIL_CONFIG: config },
  });
  const text = (): string => (existsSync(log) ? readFileSync(log, 'latin1') : '');
  await until(
    () => isListening(port),
    () => `postfix listens (it said: ${running.output()}${text()})`,
  );
  return {
    port,
    log: text,
    queued: () =>
      ['maildrop', 'incoming', 'active', 'deferred', 'hold', 'corrupt']
        .flatMap((name) => readdirSync(path.join(queue, name), { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile()).length,
    stop: () => running.stop(),
  };
}
