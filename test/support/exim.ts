// A real Exim daemon on loopback, with a configuration given by the test.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { freePort, runToEnd, until } from './process.ts';

export interface Exim {
  readonly port: number;
  readonly configFile: string;
  readonly pid: number;
  mainLog(): string;
  /** Runs `exim4 -C <its configuration> ...`. */
  run(...words: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Exim reads 32 lines of it and no more; test files that run at the same time change it. */
const trusted = '/etc/exim4/trusted_configs';

/** Changes the lines of that file while no other test does; lines of configurations that are gone go too. */
async function changeTrusted(change: (lines: readonly string[]) => readonly string[]): Promise<void> {
  const lock = `${trusted}.lock`;
  await until(() => {
    try {
      mkdirSync(lock);
      return true;
    } catch {
      const made = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - made > 10_000) rmSync(lock, { recursive: true, force: true });
      return false;
    }
  }, `${lock} is free`);
  try {
    const lines = existsSync(trusted) ? readFileSync(trusted, 'utf8').split('\n') : [];
    const alive = lines.filter((l) => l !== '' && (!l.startsWith('/tmp/') || existsSync(l)));
    writeFileSync(
      `${trusted}.new`,
      change(alive)
        .map((l) => `${l}\n`)
        .join(''),
      { mode: 0o644 },
    );
    renameSync(`${trusted}.new`, trusted);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** `uid` and `gid` of Debian-exim. */
function eximOwner(): { uid: number; gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((l) => l.startsWith('Debian-exim:'));
  const [, , uid = '0', gid = '0'] = (line ?? '').split(':');
  return { uid: Number(uid), gid: Number(gid) };
}

/**
 * Starts Exim with main options that keep it in `folder` and on loopback; `main` is more main options, `rest` the
 * sections from `begin acl` on. `words` say how it runs: as a daemon with a queue run every second.
 */
export async function startExim(
  folder: string,
  main: string,
  rest: string,
  words: readonly string[] = ['-bd', '-q1s'],
): Promise<Exim> {
  const port = await freePort();
  const spool = path.join(folder, 'spool');
  const logs = path.join(folder, 'log');
  const { uid, gid } = eximOwner();
  for (const dir of [folder, spool, logs]) {
    mkdirSync(dir, { recursive: true });
    chmodSync(dir, 0o755);
  }
  chownSync(spool, uid, gid);
  chownSync(logs, uid, gid);
  const configFile = path.join(folder, 'exim.conf');
  const pidFile = path.join(folder, 'exim.pid');
  writeFileSync(
    configFile,
    `primary_hostname = mx.example.test
spool_directory = ${spool}
log_file_path = ${logs}/%slog
pid_file_path = ${pidFile}
daemon_smtp_ports = ${port}
local_interfaces = 127.0.0.1
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
keep_environment =
${main}
${rest}
`,
    { mode: 0o644 },
  );
  chmodSync(configFile, 0o644);
  await changeTrusted((lines) => [...lines.filter((l) => l !== configFile), configFile]);
  const started = await runToEnd('/usr/sbin/exim4', ['-C', configFile, ...words]);
  if (started.code !== 0) throw new Error(`exim4 did not start: ${started.output}`);
  const pid = await until(
    () => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) || undefined : undefined),
    'exim4 writes its pid',
  );
  return {
    port,
    configFile,
    pid,
    mainLog: () => (existsSync(`${logs}/mainlog`) ? readFileSync(`${logs}/mainlog`, 'latin1') : ''),
    async run(...words) {
      return (await runToEnd('/usr/sbin/exim4', ['-C', configFile, ...words])).output;
    },
    async stop() {
      process.kill(pid, 'SIGTERM');
      await until(() => !existsSync(`/proc/${pid}`), 'exim4 stops');
      await changeTrusted((lines) => lines.filter((l) => l !== configFile));
    },
  };
}
