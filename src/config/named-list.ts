/** `domainlist name = ...` and its relatives (Exim manual, "Named lists"). */
import type { MatchKind } from '../expand/scope.ts';
import type { SourceText } from '../mail/diagnostic.ts';
import { positionAt, sliceSource } from '../mail/source-text.ts';
import { isNameCharacter, isSpace } from './lines.ts';
import type { NamedList } from './model.ts';
import type { Report } from './report.ts';
import { nameAt, skipSpace } from './setting.ts';
import { readString } from './text-value.ts';

/** Which word begins a definition of which kind. */
export const listWords: ReadonlyMap<string, MatchKind> = new Map([
  ['domainlist', 'domain'],
  ['hostlist', 'host'],
  ['addresslist', 'address'],
  ['localpartlist', 'local_part'],
]);

/** Reads a definition; undefined where the line is none, `malformed` after reporting what is wrong. */
export function lexNamedList(line: SourceText, report: Report): NamedList | 'malformed' | undefined {
  const { text } = line;
  let at = 0;
  const hidden = nameAt(text, 0) === 'hide' && isSpace(text[4]);
  if (hidden) at = skipSpace(text, 4);
  const word = nameAt(text, at);
  const base = [...listWords.keys()].find((w) => word.startsWith(w));
  const kind = base === undefined ? undefined : listWords.get(base);
  if (base === undefined || kind === undefined) return undefined;
  const suffix = word.slice(base.length);
  if ((suffix !== '' && suffix !== '_cache') || !isSpace(text[at + word.length])) {
    report.error(line.position, 'unrecognized configuration line', `${base} NAME = items`);
    return 'malformed';
  }
  const start = skipSpace(text, at + word.length);
  let end = start;
  while (isNameCharacter(text[end])) end++;
  const name = text.slice(start, end);
  const equals = skipSpace(text, end);
  if (name === '' || text[equals] !== '=') {
    report.error(
      positionAt(line, end),
      `missing '=' after "${name}"`,
      'a name is letters, digits and underscores',
    );
    return 'malformed';
  }
  const value = sliceSource(line, skipSpace(text, equals + 1));
  const string = readString(value, name);
  if ('wrong' in string) {
    report.error(positionAt(value, string.at), string.wrong);
    return 'malformed';
  }
  return { kind, name, text: string.value, position: positionAt(line, start), hidden, cache: suffix !== '' };
}
