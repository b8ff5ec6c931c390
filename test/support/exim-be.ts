// `exim4 -be` in a folder of its own.
import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Makes a spool that Exim's user may write, and gives the options that name it. */
export function eximSpool(folder: string): string {
  const spool = path.join(folder, 'spool');
  mkdirSync(spool);
  const user = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith('Debian-exim:'))
    ?.split(':');
  if (user !== undefined && process.geteuid?.() === 0) chownSync(spool, Number(user[2]), Number(user[3]));
  return `spool_directory = ${spool}\nlog_file_path = ${spool}/%slog\n`;
}
