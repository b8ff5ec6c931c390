/** Numbers of users and groups, from this machine's own files (Exim manual, "User and group names"). */
import { readFileSync } from 'node:fs';

/** The uid of a name in /etc/passwd, or the number itself; undefined for a name that is not there. */
export function userNumber(name: string): number | undefined {
  return numberOf('/etc/passwd', name);
}

/** The same for groups and /etc/group. */
export function groupNumber(name: string): number | undefined {
  return numberOf('/etc/group', name);
}

function numberOf(file: string, name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const [entry, , id] = line.split(':');
    if (entry === name && id !== undefined) return Number(id);
  }
  return undefined;
}
