/** `-D` on the command line: a macro for the configuration (Exim manual, "-D"). */

/** Exim takes no more. */
export const maxDefines = 10;

/**
 * Adds what a whole word `-DNAME=value`, `-DNAME` or `-D NAME = value` says to `defines`. Gives what is wrong with it, in
 * Exim's words where Exim has some; undefined where it was added.
 */
export function addDefine(word: string, defines: Map<string, string>): string | undefined {
  const text = word.slice(2).replace(/^[\t-\r ]+/, '');
  if (!/^[A-Z]/.test(text)) return 'macro name set by -D must start with an upper case letter';
  const m = /^([A-Z]\w*)(?:[\t-\r ]*(?:=[\t-\r ]*(.*))?)$/s.exec(text);
  const name = m?.[1];
  if (m === null || name === undefined) return `unknown, malformed, or incomplete option ${word}`;
  if (defines.has(name)) return 'duplicated -D in command line';
  if (defines.size >= maxDefines) return 'too many -D options on command line';
  defines.set(name, m[2] ?? '');
  return undefined;
}
