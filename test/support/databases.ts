// Real database servers on loopback and UNIX sockets, in temporary folders, stopped by pid. Never as system services.
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after } from 'node:test';
import { findProgram } from './peers.ts';
import { freePort, runToEnd, start, temporaryFolder, type Running, type StartOptions } from './process.ts';

export interface Database {
  readonly port: number;
  /** Path of its UNIX socket. */
  readonly socket: string;
  stop(): Promise<void>;
}

/** Gives what starts the server at its first call; it is stopped after the tests of the file. */
export function startedOnce<T extends Database>(startIt: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined;
  after(async () => (await started)?.stop());
  return () => (started ??= startIt());
}

/** Servers that refuse to run as root run as this user then. */
function asUser(name: string): StartOptions {
  if (process.geteuid?.() !== 0) return {};
  const fields = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((l) => l.startsWith(`${name}:`))
    ?.split(':');
  return { uid: Number(fields?.[2]), gid: Number(fields?.[3]) };
}

async function must(program: string, words: readonly string[], options: StartOptions = {}): Promise<string> {
  const { code, output } = await runToEnd(program, words, options);
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${output}`);
  return output;
}

/** The newest installed version's programs. */
export function postgresProgram(name: string): string {
  const root = '/usr/lib/postgresql';
  let versions: string[] = [];
  try {
    versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  } catch {
    // not installed
  }
  return path.join(root, versions[0] ?? '15', 'bin', name);
}

/** A certificate for localhost that signs itself. */
async function makeCertificate(certificate: string, key: string, options: StartOptions = {}): Promise<void> {
  const names = 'subjectAltName=IP:127.0.0.1,DNS:localhost';
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
  await must('openssl', [...request, '-addext', names, '-keyout', key, '-out', certificate], options);
}

function finish(running: Running, folder: { remove(): void }, signal?: NodeJS.Signals): () => Promise<void> {
  return async () => {
    if (signal !== undefined) running.kill(signal);
    await running.stop();
    folder.remove();
  };
}

/**
 * PostgreSQL with user `mail`, password `secret`, database `mail`.
 *
 * @param tls over TCP it takes only connections with TLS
 */
export async function startPostgres(sql: string, tls = false): Promise<Database> {
  const folder = temporaryFolder('postgres');
  const user = asUser('postgres');
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder.path, user.uid, user.gid);
  chmodSync(folder.path, 0o755);
  const data = path.join(folder.path, 'data');
  await must(
    postgresProgram('initdb'),
    ['-D', data, '-U', 'admin', '--auth=trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { ...user, cwd: folder.path },
  );
  writeFileSync(
    path.join(data, 'pg_hba.conf'),
    `local all admin trust\nlocal all all password\n${tls ? 'hostssl' : 'host'} all all 127.0.0.1/32 scram-sha-256\n`,
  );
  if (tls) await makeCertificate(path.join(data, 'server.crt'), path.join(data, 'server.key'), user);
  const port = await freePort();
  const settings = [
    `listen_addresses=127.0.0.1`,
    `port=${port}`,
    `unix_socket_directories=${folder.path}`,
    'fsync=off',
    'max_connections=20',
    ...(tls ? ['ssl=on'] : []),
    'shared_buffers=8MB',
  ];
  const running = start(postgresProgram('postgres'), ['-D', data, ...settings.flatMap((s) => ['-c', s])], {
    ...user,
    cwd: folder.path,
  });
  await running.printed(/ready to accept connections/);
  const psql = (database: string, text: string): Promise<string> =>
    must(postgresProgram('psql'), [
      '-X',
      '-q',
      '-v',
      'ON_ERROR_STOP=1',
      '-h',
      folder.path,
      '-p',
      String(port),
      '-U',
      'admin',
      '-d',
      database,
      '-c',
      text,
    ]);
  await psql('postgres', "create role mail login password 'secret'");
  await psql('postgres', 'create database mail owner mail');
  await psql('mail', `set role mail; ${sql}`);
  return {
    port,
    socket: path.join(folder.path, `.s.PGSQL.${port}`),
    stop: finish(running, folder, 'SIGQUIT'),
  };
}

/** MariaDB with user `mail`, password `secret`, database `mail`. */
export async function startMariadb(sql: string): Promise<Database> {
  const folder = temporaryFolder('mariadb');
  const data = path.join(folder.path, 'data');
  mkdirSync(data);
  const init = path.join(folder.path, 'init.sql');
  writeFileSync(
    init,
    `create database mail character set utf8mb4;\ncreate user mail identified by 'secret';\ncreate user mail@localhost identified by 'secret';\ngrant all on mail.* to mail;\ngrant all on mail.* to mail@localhost;\nuse mail;\nset names utf8mb4;\n${sql.replaceAll('; ', ';\n')}\n`,
  );
  const user = process.geteuid?.() === 0 ? ['--user=root'] : [];
  await must('/usr/bin/mariadb-install-db', [
    '--no-defaults',
    `--datadir=${data}`,
    '--skip-test-db',
    '--auth-root-authentication-method=normal',
    ...user,
  ]);
  const port = await freePort();
  const socket = path.join(folder.path, 'sock');
  const running = start(findProgram('mariadbd') ?? 'mariadbd', [
    '--no-defaults',
    `--datadir=${data}`,
    `--socket=${socket}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--innodb-buffer-pool-size=8M',
    `--init-file=${init}`,
    `--pid-file=${folder.path}/pid`,
    ...user,
  ]);
  await running.printed(/ready for connections/, 40_000);
  return { port, socket, stop: finish(running, folder) };
}

/** Redis; `password` empty: none is asked for. */
export async function startRedis(password: string): Promise<Database> {
  const folder = temporaryFolder('redis');
  const port = await freePort();
  const socket = path.join(folder.path, 'sock');
  const running = start('redis-server', [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--unixsocket',
    socket,
    '--dir',
    folder.path,
    '--save',
    '',
    '--appendonly',
    'no',
    ...(password === '' ? [] : ['--requirepass', password]),
  ]);
  await running.printed(/ready to accept connections/i);
  return { port, socket, stop: finish(running, folder) };
}

/** Where OpenLDAP listens for TLS from the start, and the certificate that it shows. */
export interface Slapd extends Database {
  readonly tlsPort: number;
  readonly certificate: string;
}

/** OpenLDAP for `dc=test`, its manager `cn=manager,dc=test` with the password `secret`; with TLS. */
export async function startSlapd(ldif: string): Promise<Slapd> {
  const folder = temporaryFolder('slapd');
  const data = path.join(folder.path, 'data');
  mkdirSync(data);
  const port = await freePort();
  const socket = path.join(folder.path, 'sock');
  const tlsPort = await freePort();
  const [certificate, key] = [path.join(folder.path, 'cert.pem'), path.join(folder.path, 'key.pem')];
  await makeCertificate(certificate, key);
  const config = path.join(folder.path, 'slapd.conf');
  writeFileSync(
    config,
    [
      'include /etc/ldap/schema/core.schema',
      'include /etc/ldap/schema/cosine.schema',
      'include /etc/ldap/schema/inetorgperson.schema',
      `pidfile ${folder.path}/pid`,
      `TLSCertificateFile ${certificate}`,
      `TLSCertificateKeyFile ${key}`,
      'modulepath /usr/lib/ldap',
      'moduleload back_mdb',
      'database mdb',
      'suffix "dc=test"',
      'rootdn "cn=manager,dc=test"',
      'rootpw secret',
      `directory ${data}`,
      'access to dn.subtree="ou=private,dc=test" by * none',
      'access to * by anonymous read by users read',
      '',
    ].join('\n'),
  );
  const entries = path.join(folder.path, 'entries.ldif');
  writeFileSync(entries, ldif);
  const slapd = findProgram('slapd') ?? 'slapd';
  await must(findProgram('slapadd') ?? 'slapadd', ['-q', '-f', config, '-l', entries]);
  const running = start(slapd, [
    '-d',
    'stats',
    '-f',
    config,
    '-h',
    `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${tlsPort} ldapi://${encodeURIComponent(socket)}`,
  ]);
  await running.printed(/slapd starting/);
  return { port, socket, tlsPort, certificate, stop: finish(running, folder) };
}
