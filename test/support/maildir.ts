import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Every message of a Maildir (new and cur), octets as latin1, as they lie in the files. */
export function maildirMessages(maildir: string): string[] {
  return ['new', 'cur'].flatMap((sub) => {
    const folder = path.join(maildir, sub);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .map((name) => readFileSync(path.join(folder, name), 'latin1'));
  });
}
