// A real Dovecot with LMTP (UNIX and TCP) and IMAP on loopback, in a folder of its own.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { freePort, isListening, runToEnd, start, until } from './process.ts';

export interface Dovecot {
  readonly lmtpSocket: string;
  readonly lmtpPort: number;
  readonly imapPort: number;
  /** Where the Maildirs are: `<mail>/<user>`. */
  readonly mail: string;
  readonly configFile: string;
  readonly pid: number;
  log(): string;
  /** Runs doveadm with this configuration. */
  doveadm(...words: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface DovecotOptions {
  /** Local parts of example.test. */
  readonly users: readonly string[];
  /** Lines added to the configuration. */
  readonly extra?: string;
  /** An existing mail folder, to read what another store wrote. */
  readonly mail?: string;
  /** Numeric owner of the mail; Debian's `mail` by default. */
  readonly owner?: number;
  /** A port that one before it had; a free one by default. */
  readonly lmtpPort?: number;
}

export async function startDovecot(folder: string, options: DovecotOptions): Promise<Dovecot> {
  const owner = options.owner ?? 8;
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  const mail = options.mail ?? path.join(folder, 'mail');
  mkdirSync(mail, { recursive: true });
  if (options.mail === undefined) chownSync(mail, owner, owner);
  const lmtpPort = options.lmtpPort ?? (await freePort());
  const imapPort = await freePort();
  const lmtpSocket = path.join(folder, 'lmtp.sock');
  const log = path.join(folder, 'log');
  const users = path.join(folder, 'users');
  writeFileSync(users, `${options.users.map((u) => `${u}:{PLAIN}secret:::::`).join('\n')}\n`);
  const configFile = path.join(folder, 'dovecot.conf');
  writeFileSync(
    configFile,
    `base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${log}
protocols = lmtp imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:${mail}/%u
mail_uid = ${owner}
mail_gid = ${owner}
first_valid_uid = 1
first_valid_gid = 1
postmaster_address = postmaster@example.test
auth_username_format = %Ln
recipient_delimiter = +
default_login_user = dovenull
default_internal_user = dovecot
passdb {
  driver = passwd-file
  args = ${users}
}
userdb {
  driver = passwd-file
  args = ${users}
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = ${imapPort}
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  unix_listener ${lmtpSocket} {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = ${lmtpPort}
  }
}
${options.extra ?? ''}
`,
  );
  const running = start('/usr/sbin/dovecot', ['-F', '-c', configFile]);
  await until(
    () => existsSync(lmtpSocket) && isListening(lmtpPort) && isListening(imapPort),
    () => `dovecot listens (it said: ${running.output()})`,
  );
  return {
    lmtpSocket,
    lmtpPort,
    imapPort,
    mail,
    configFile,
    pid: running.pid,
    log: () => (existsSync(log) ? readFileSync(log, 'latin1') : ''),
    async doveadm(...words) {
      const run = await runToEnd('/usr/bin/doveadm', ['-c', configFile, ...words]);
      return run.output;
    },
    stop: () => running.stop(),
  };
}

/** Processes of a Dovecot that speak LMTP. */
export function lmtpProcesses(master: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1');
      return parent === master && command.startsWith('dovecot/lmtp') ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}
