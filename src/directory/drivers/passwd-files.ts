/** Several passwd-files as one source, with Dovecot's variables in their paths: one file for each domain, say. */
import { statSync } from 'node:fs';
import { isSafeSegment } from '../../mail/mail-location.ts';
import { askInOrder, listAll, type UserSource } from '../user-source.ts';
import { readVariables, type VariableText } from '../variables.ts';
import { type PasswdFileOptions, passwdFileUsers } from './passwd-file.ts';

/** Files of one path with variables that are held in memory. */
const maxOpen = 200;

/**
 * @param files absolute paths, asked in order; `%u %n %d` become parts of the user's name
 * @param each what holds for every file
 */
export function passwdFilesUsers(
  files: readonly string[],
  each: Omit<PasswdFileOptions, 'file' | 'mayBeMissing'>,
): UserSource {
  const sources = files.map((file) => {
    const path = readVariables(file);
    if (typeof path === 'string') throw new Error(`${file}: ${path}`);
    return path.varies ? varyingFile(path, each) : passwdFileUsers({ ...each, file: path.expand('') });
  });
  return {
    find: (name) => askInOrder(sources, (source) => source.find(name)),
    list: (max) => listAll(sources, max),
    async close() {
      await Promise.all(sources.map((source) => source.close()));
    },
  };
}

/**
 * A file that does not exist has no users, as in Dovecot; but only where the folder that all such files share exists, and where
 * the file was not there a minute ago. No name leads out of that folder.
 */
function varyingFile(path: VariableText, each: Omit<PasswdFileOptions, 'file'>): UserSource {
  const open = new Map<string, UserSource>();
  const shared = path.prefix.slice(0, path.prefix.lastIndexOf('/') + 1);
  return {
    find(name) {
      let safe = true;
      const file = path.expand(name, (value) => {
        safe &&= isSafeSegment(value);
        return value;
      });
      if (!safe) return { kind: 'unknown' };
      let one = open.get(file);
      if (one === undefined) {
        for (const [oldest, old] of open) {
          if (open.size < maxOpen) break;
          open.delete(oldest);
          void old.close();
        }
        one = passwdFileUsers({ ...each, file, mayBeMissing: () => exists(shared) });
      } else open.delete(file);
      open.set(file, one);
      return one.find(name);
    },
    list: () => undefined,
    async close() {
      await Promise.all([...open.values()].map((source) => source.close()));
      open.clear();
    },
  };
}

function exists(folder: string): boolean {
  try {
    return statSync(folder).isDirectory();
  } catch {
    return false;
  }
}
