// The real programs that tests run against, and the Debian package that brings each.
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

export const peers: readonly { readonly program: string; readonly package: string }[] = [
  { program: 'exim4', package: 'exim4-daemon-heavy' },
  { program: 'exigrep', package: 'exim4-base' },
  { program: 'dovecot', package: 'dovecot-lmtpd' },
  { program: '/usr/lib/dovecot/lmtp', package: 'dovecot-lmtpd' },
  { program: '/usr/lib/dovecot/imap', package: 'dovecot-imapd' },
  { program: '/usr/lib/dovecot/modules/auth/libdriver_sqlite.so', package: 'dovecot-sqlite' },
  { program: '/usr/lib/dovecot/modules/auth/libdriver_pgsql.so', package: 'dovecot-pgsql' },
  { program: '/usr/lib/dovecot/modules/auth/libauthdb_ldap.so', package: 'dovecot-ldap' },
  { program: 'swaks', package: 'swaks' },
  { program: '/usr/share/postgresql-common/pg_wrapper', package: 'postgresql' },
  { program: 'mariadbd', package: 'mariadb-server-core' },
  { program: 'my_print_defaults', package: 'mariadb-client-core' },
  { program: 'redis-server', package: 'redis-server' },
  { program: 'slapd', package: 'slapd' },
  { program: 'saslauthd', package: 'sasl2-bin' },
  { program: 'freeradius', package: 'freeradius' },
  { program: 'openssl', package: 'openssl' },
  { program: 'ip', package: 'iproute2' },
];

/** The absolute path of a program (or of a module of one), looked for in PATH and the sbin folders; undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = name.startsWith('/')
    ? ['']
    : [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const file = folder === '' ? name : path.join(folder, name);
    try {
      accessSync(file, name.endsWith('.so') ? constants.R_OK : constants.X_OK);
      return file;
    } catch {
      // not there: look on
    }
  }
  return undefined;
}

/** For `{ skip: needs('exim4') }`: false where every program is there, else a text that names the missing ones. */
export function needs(...names: string[]): string | false {
  const missing = names.filter((n) => findProgram(n) === undefined);
  return missing.length === 0 ? false : `needs ${missing.join(', ')}`;
}

/** As `needs`, for tests that also need root: to change owners, to mount, or to run Dovecot and Exim as they run in earnest. */
export function needsRoot(...names: string[]): string | false {
  return needs(...names) || (process.geteuid?.() !== 0 && 'needs root');
}
