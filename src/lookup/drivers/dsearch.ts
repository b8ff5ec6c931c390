/** dsearch: the file is a directory, the key the name of an entry; gives the name, which untaints it (Exim manual, "Single-key lookup types"). */
import { lstatSync, statSync } from 'node:fs';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { systemWords } from './file-cache.ts';

type Filter = 'file' | 'dir' | 'subdir';

interface Options {
  readonly full: boolean;
  readonly filter: Filter | undefined;
}

function readOptions(texts: readonly string[]): Options | string {
  let full = false;
  let filter: Filter | undefined;
  for (const text of texts) {
    if (text === 'ret=full') full = true;
    else if (text === 'filter=file' || text === 'filter=dir' || text === 'filter=subdir')
      filter = text.slice(7) as Filter;
    else return `unknown option "${text}" for dsearch lookup`;
  }
  return { full, filter };
}

export function createDsearch(): LookupDriver {
  return {
    type: 'dsearch',
    style: 'single-key',
    find(directory, key, optionTexts): DriverAnswer {
      const options = readOptions(optionTexts);
      if (typeof options === 'string') return { kind: 'unusable', reason: options };
      if (key.includes('/'))
        return { kind: 'defer', reason: `key for dsearch lookup contains a slash: ${key}` };
      if (key.includes('\0')) return { kind: 'missing' };
      const path = `${directory}/${key}`;
      try {
        const s = lstatSync(Buffer.from(path, 'latin1'));
        return accepted(s, key, options.filter)
          ? { kind: 'found', value: options.full ? path : key }
          : { kind: 'missing' };
      } catch (e) {
        return explain(e, directory, path);
      }
    },
  };
}

function accepted(
  s: { isFile(): boolean; isDirectory(): boolean },
  key: string,
  filter: Filter | undefined,
): boolean {
  switch (filter) {
    case undefined:
      return true;
    case 'file':
      return s.isFile();
    case 'dir':
      return s.isDirectory();
    case 'subdir':
      return s.isDirectory() && key !== '.' && key !== '..';
  }
}

/** An entry that is not there is an answer; a directory that is not there is a fault. */
function explain(e: unknown, directory: string, path: string): DriverAnswer {
  const code = e instanceof Error ? (e as NodeJS.ErrnoException).code : undefined;
  if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES')
    return { kind: 'defer', reason: `${path}: lstat: ${systemWords(e)}` };
  try {
    if (statSync(Buffer.from(directory, 'latin1')).isDirectory())
      return code === 'ENOENT'
        ? { kind: 'missing' }
        : { kind: 'defer', reason: `${path}: lstat: ${systemWords(e)}` };
    return { kind: 'unusable', reason: `failed to open ${directory} for directory search: Not a directory` };
  } catch (inner) {
    return {
      kind: 'unusable',
      reason: `failed to open ${directory} for directory search: ${systemWords(inner)}`,
    };
  }
}
