/** The words of a command line as Exim splits it (Exim manual, "How the command is run" of the pipe transport). */
import { unquoteText } from './quoted-text.ts';

/**
 * Words are parted by white space. A word in single quotes is taken as it stands, one in double quotes has its escapes
 * read; what follows a closing quote at once begins a new word. A quote that is not closed goes to the end.
 */
export function commandWords(text: string): string[] {
  const words: string[] = [];
  let at = 0;
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? '';
    at += found.length;
    return found;
  };
  for (;;) {
    take(/\s+/y);
    if (at >= text.length) return words;
    const c = text[at];
    if (c === "'") words.push(take(/'[^']*'?/y).replace(/^'|'$/g, ''));
    else if (c === '"') words.push(unquoteText(take(/"(?:[^"\\]|\\[^])*"?/y)));
    else words.push(take(/\S+/y));
  }
}
