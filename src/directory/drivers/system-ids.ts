/** Numbers of the machine's users and groups by name, from /etc/passwd and /etc/group alone (Node has no call for NSS). */
import { readFileSync } from 'node:fs';
import type { SystemIds } from '../user-fields.ts';

/** Reads the files when a name is first asked for, so a file of numbers costs nothing. */
export function systemIds(): SystemIds {
  let users: ReadonlyMap<string, number> | undefined;
  let groups: ReadonlyMap<string, number> | undefined;
  return {
    uid: (name) => (users ??= read('/etc/passwd')).get(name),
    gid: (name) => (groups ??= read('/etc/group')).get(name),
  };
}

function read(file: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let text = '';
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return found;
  }
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':');
    if (name !== undefined && id !== undefined && /^\d+$/.test(id)) found.set(name, Number(id));
  }
  return found;
}
