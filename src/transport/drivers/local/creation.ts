/** What a delivery may create, and where (Exim manual, `create_file`, `create_directory`, `directory_mode`). */
import { chmod, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, errorWords } from './outcome.ts';

export interface Creation {
  readonly createDirectory: boolean;
  readonly directoryMode: number;
  /** `anywhere`, `belowhome`, `inhome`, or a directory below which everything must be. */
  readonly createFile: string;
  readonly home?: string;
}

/** A text says why the path may not be created. */
export function mayCreate(file: string, { createFile, home }: Creation): string | undefined {
  if (createFile === 'anywhere') return undefined;
  const within = createFile.startsWith('/') ? createFile : home;
  if (within === undefined) return `${file} may not be created: there is no home directory`;
  const base = within.replace(/\/+$/, '');
  const rest = file.startsWith(`${base}/`) ? file.slice(base.length + 1) : undefined;
  const good =
    rest !== undefined &&
    !/(?:^|\/)\.\.(?:\/|$)/.test(rest) &&
    (createFile !== 'inhome' || !rest.includes('/'));
  return good ? undefined : `${file} may not be created outside of ${base} (create_file = ${createFile})`;
}

/** Makes a directory with those above it. A text says why there is none. */
export async function makeDirectory(directory: string, creation: Creation): Promise<string | undefined> {
  try {
    return (await stat(directory)).isDirectory() ? undefined : `${directory} is not a directory`;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return `stat ${directory}: ${errorWords(error)}`;
  }
  if (!creation.createDirectory) return `directory ${directory} does not exist (create_directory is off)`;
  const above = path.dirname(directory);
  if (above !== directory) {
    const wrong = await makeDirectory(above, creation);
    if (wrong !== undefined) return wrong;
  }
  try {
    await mkdir(directory, creation.directoryMode);
    await chmod(directory, creation.directoryMode);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return `failed to create directory ${directory}: ${errorWords(error)}`;
  }
  return undefined;
}
