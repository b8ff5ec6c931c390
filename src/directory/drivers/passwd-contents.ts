/** A passwd-file's text as answers by name. */
import type { DirectoryAnswer } from '../directory.ts';
import { parsePasswdLine } from './passwd-entry.ts';
import { systemIds } from './system-ids.ts';

export interface PasswdContents {
  /** What is answered for whom; nobody else is in the file. */
  readonly answers: ReadonlyMap<string, DirectoryAnswer>;
  /** The text ends with a line end. */
  readonly complete: boolean;
}

const maxProblems = 100;

/**
 * Of two lines for one user the first counts, as in Dovecot. A malformed line that names a user makes that one user
 * unavailable, and so does a last line without its end where `doubtful`: it may be half of one.
 *
 * @param report told `file:line: problem`, at most 100 times
 */
export function readPasswd(
  file: string,
  text: string,
  doubtful: boolean,
  report: (text: string) => void,
): PasswdContents {
  const answers = new Map<string, DirectoryAnswer>();
  const complete = text === '' || text.endsWith('\n');
  let problems = 0;
  const problem = (line: number, what: string): void => {
    if (++problems <= maxProblems) report(`${file}:${line}: ${what}`);
  };
  const ids = systemIds();
  const lines = text.split('\n');
  lines.forEach((line, index) => {
    const entry = parsePasswdLine(line.endsWith('\r') ? line.slice(0, -1) : line, ids);
    if (entry.kind === 'blank') return;
    const { name } = entry;
    const half = doubtful && !complete && index === lines.length - 1;
    if (entry.kind === 'malformed' && !half) problem(index + 1, entry.problem);
    if (name === undefined) return;
    if (answers.has(name))
      problem(index + 1, `user ${name} stands here a second time; the first line counts`);
    else if (half)
      answers.set(name, { kind: 'unavailable', reason: `${file}: its last line is not complete` });
    else if (entry.kind === 'malformed')
      answers.set(name, { kind: 'unavailable', reason: `${file}:${index + 1}: ${entry.problem}` });
    else answers.set(name, { kind: 'found', user: entry.user });
  });
  if (problems > maxProblems) report(`${file}: ${problems - maxProblems} more problems`);
  return { answers, complete };
}
