/** Variables of the configuration, the process and the clock. */
import { loadavg } from 'node:os';
import { statfsSync } from 'node:fs';
import path from 'node:path';
import type { VariableRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { dates } from './dates.ts';

/** The version of Exim whose language this is. */
const eximVersion = '4.96';

const cwd = process.cwd();

const row = (read: (f: Frame) => string): VariableRow => ({ read });

const date = (format: keyof typeof dates): VariableRow => row(() => dates[format](new Date()));

/** Free blocks or inodes of the file system that holds the spool; -1 where it cannot be asked. */
function space(what: 'kilobytes' | 'inodes'): VariableRow {
  return row((f) => {
    try {
      const s = statfsSync(f.scope.main.spoolDirectory);
      return String(what === 'inodes' ? s.ffree : Math.floor((s.bavail * s.bsize) / 1024));
    } catch {
      return '-1';
    }
  });
}

export const mainVariables: Readonly<Record<string, VariableRow>> = {
  primary_hostname: row((f) => f.scope.main.primaryHostname),
  smtp_active_hostname: row((f) => f.scope.connection?.activeHostname ?? f.scope.main.primaryHostname),
  qualify_domain: row((f) => f.scope.main.qualifyDomain),
  qualify_recipient: row((f) => f.scope.main.qualifyRecipient),
  spool_directory: row((f) => f.scope.main.spoolDirectory),
  config_file: row((f) => f.scope.main.configFile),
  config_dir: row((f) => path.dirname(f.scope.main.configFile)),
  exim_version: row(() => eximVersion),
  version_number: row(() => eximVersion),
  exim_path: row(() => process.argv[1] ?? ''),
  exim_uid: row(() => String(process.geteuid?.() ?? 0)),
  exim_gid: row(() => String(process.getegid?.() ?? 0)),
  caller_uid: row(() => String(process.getuid?.() ?? 0)),
  caller_gid: row(() => String(process.getgid?.() ?? 0)),
  initial_cwd: row(() => cwd),
  pid: row(() => String(process.pid)),
  load_average: row(() => String(Math.round((loadavg()[0] ?? 0) * 1000))),
  spool_space: space('kilobytes'),
  spool_inodes: space('inodes'),
  log_space: space('kilobytes'),
  log_inodes: space('inodes'),
  tod_bsdinbox: date('bsdInbox'),
  tod_epoch: date('epoch'),
  tod_epoch_l: row(
    () => `${Date.now()}${String(Math.floor((performance.now() % 1) * 1000)).padStart(3, '0')}`,
  ),
  tod_full: date('full'),
  tod_log: date('log'),
  tod_logfile: date('logfile'),
  tod_zone: date('zone'),
  tod_zulu: date('zulu'),
};
