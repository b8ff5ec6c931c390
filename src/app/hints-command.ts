/** What the commands that look into the hints have in common: their options, and the hints of a configuration's spool. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { addDefine } from '../cli/define.ts';
import { openLmdbHints } from '../hints/drivers/lmdb.ts';
import type { Hints } from '../hints/hints.ts';
import { chooseConfigFile } from './config-file.ts';
import { loadOrComplain } from './load-or-complain.ts';
import type { Program } from './program.ts';

export interface CommandLine {
  readonly configFile: string;
  readonly defines: ReadonlyMap<string, string>;
  /** What is no option. */
  readonly words: readonly string[];
  /** Options with two dashes and their values; an empty value where they take none. */
  readonly options: ReadonlyMap<string, string>;
}

/**
 * Reads `-C FILE`, `-DNAME=value` and the command's own options; a text is what is wrong.
 *
 * @param known the command's options, `true` for those with a value
 */
export function readCommandLine(
  words: readonly string[],
  known: Readonly<Record<string, boolean>> = {},
): CommandLine | string {
  const defines = new Map<string, string>();
  const options = new Map<string, string>();
  const rest: string[] = [];
  let configFile: string | undefined;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word.startsWith('-C')) {
      configFile = word === '-C' ? words[++i] : word.slice(2);
      if (configFile === undefined || configFile === '') return '-C needs a file';
    } else if (word.startsWith('-D')) {
      const wrong = addDefine(word, defines);
      if (wrong !== undefined) return wrong;
    } else if (word.startsWith('--')) {
      const takesValue = known[word];
      if (takesValue === undefined) return `${word} is not understood`;
      const value = takesValue ? words[++i] : '';
      if (value === undefined) return `${word} needs a value`;
      options.set(word, value);
    } else if (word.startsWith('-') && word !== '-') return `${word} is not understood`;
    else rest.push(word);
  }
  return { configFile: chooseConfigFile(configFile), defines, words: rest, options };
}

/**
 * Loads the configuration and opens the hints of its spool, which a daemon may have open too. Complains and gives
 * undefined where it cannot. `hints` is absent where nothing has been kept yet: nothing is made for a look.
 */
export async function withHints(
  { configFile, defines }: CommandLine,
  use: (program: Program, hints: Hints | undefined) => Promise<number>,
): Promise<number> {
  const program = loadOrComplain(configFile, defines, (line) => console.error(line));
  if (program === undefined) return 1;
  const directory = path.join(program.main.spoolDirectory, 'hints');
  const hints = existsSync(directory) ? openLmdbHints({ directory }) : undefined;
  try {
    return await use(program, hints);
  } finally {
    await hints?.close();
    await program.closeLookups();
  }
}
