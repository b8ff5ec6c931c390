// The real Exim and the real Dovecot on loopback ports and in temporary folders, set up as servers.ts answers.
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ListenAddress } from '../../src/net/listen.ts';
import { makeCertificate } from '../support/certificate.ts';
import { findProgram } from '../support/peers.ts';
import { freePort } from '../support/process.ts';

export interface Peer {
  readonly endpoint: ListenAddress;
  stop(): Promise<void>;
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`the peer ended with ${child.exitCode}`);
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error('the peer does not answer');
}

function start(
  name: string,
  program: string,
  args: readonly string[],
  folder: string,
  port: number,
): Promise<Peer> {
  const child = spawn(findProgram(program) ?? program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (d: Buffer) => {
    log += d.toString();
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  return answers(port, child).then(
    () => ({ endpoint: { kind: 'tcp', host: '127.0.0.1', port }, stop }),
    async (error: unknown) => {
      await stop();
      throw new Error(`${name} did not start: ${log}`, { cause: error });
    },
  );
}

/** @param options further main options of the configuration */
export async function startExim(options: Readonly<Record<string, string>>): Promise<Peer> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-exim-'));
  for (const name of ['', 'spool', 'log']) {
    mkdirSync(path.join(folder, name), { recursive: true });
    chmodSync(path.join(folder, name), 0o777);
  }
  const main = Object.entries(options).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(
    path.join(folder, 'exim.conf'),
    `spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
pid_file_path = ${folder}/exim.pid
keep_environment =
primary_hostname = edge.example.test
qualify_domain = example.test
domainlist local_domains = example.test
acl_smtp_rcpt = acl_rcpt
recipients_max = 30
queue_only = true
tls_advertise_hosts =
pipelining_connect_advertise_hosts = :
chunking_advertise_hosts =
dsn_advertise_hosts = *
host_lookup =
smtp_banner = $primary_hostname ESMTP
${main.join('\n')}
begin acl
acl_rcpt:
  deny local_parts = unknown
       message = invalid recipient
  accept domains = +local_domains
  deny message = relay not permitted
begin routers
r:
  driver = accept
  transport = t
begin transports
t:
  driver = appendfile
  file = /dev/null
`,
  );
  const port = await freePort();
  return start(
    'exim',
    'exim4',
    ['-C', `${folder}/exim.conf`, '-bdf', '-oX', `127.0.0.1.${port}`],
    folder,
    port,
  );
}

export interface DovecotSetup {
  /** Loopback is a trusted network: XCLIENT. */
  readonly trusted?: boolean;
  /** STARTTLS is offered. */
  readonly tls?: boolean;
}

/** Dovecot's lmtp service with user1 to user20. Runs as root only, as Dovecot itself. */
export async function startDovecot(setup: DovecotSetup = {}): Promise<Peer> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-dovecot-'));
  chmodSync(folder, 0o755);
  mkdirSync(path.join(folder, 'mail'));
  const account = readFileSync('/etc/passwd', 'latin1').match(/^mail:[^:]*:(\d+):(\d+):/m);
  chownSync(path.join(folder, 'mail'), Number(account?.[1] ?? 8), Number(account?.[2] ?? 8));
  writeFileSync(
    path.join(folder, 'users'),
    Array.from({ length: 20 }, (_, i) => `user${i + 1}:{PLAIN}x:::::\n`).join(''),
  );
  let tls = 'ssl = no';
  if (setup.tls === true) {
    const { certificateFile, privateKeyFile } = makeCertificate(folder);
    tls = `ssl = yes\nssl_cert = <${certificateFile}\nssl_key = <${privateKeyFile}`;
  }
  const port = await freePort();
  writeFileSync(
    path.join(folder, 'dovecot.conf'),
    `base_dir = ${folder}/run
log_path = ${folder}/log
protocols = lmtp
listen = 127.0.0.1
${tls}
${setup.trusted === true ? 'login_trusted_networks = 127.0.0.0/8' : ''}
mail_location = maildir:${folder}/mail/%u
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
postmaster_address = postmaster@example.test
auth_username_format = %Ln
recipient_delimiter = +
default_login_user = dovenull
default_internal_user = dovecot
lda_mailbox_autocreate = yes
passdb {
  driver = passwd-file
  args = ${folder}/users
}
userdb {
  driver = passwd-file
  args = ${folder}/users
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = ${port}
  }
}
`,
  );
  return start('dovecot', 'dovecot', ['-F', '-c', `${folder}/dovecot.conf`], folder, port);
}
