/** SQL with named placeholders: `:user`, `:username` or `:local_part`, `:domain`. Values are bound by the server, never written into the text. */
import { partOf } from '../variables.ts';

export type SqlEngine = 'sqlite' | 'pgsql' | 'mysql';

export interface SqlQuery {
  /** With the placeholders of the engine. */
  readonly text: string;
  /** What to bind, in their order. */
  values(username: string): string[];
}

const placeholders: ReadonlyMap<string, 'u' | 'n' | 'd'> = new Map([
  ['user', 'u'],
  ['username', 'n'],
  ['local_part', 'n'],
  ['domain', 'd'],
]);

/** What is passed over: texts, quoted names, comments, casts; then a placeholder or a dollar sign. */
const token = {
  sqlite: /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|::|:(\w+)|[$?@]\w*/g,
  pgsql: /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|::|:=|:(\w+)|\$\w*/g,
  mysql:
    /'(?:[^'\\]|''|\\[\s\S])*'|"(?:[^"\\]|""|\\[\s\S])*"|`[^`]*`|--\s[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/|:=|:(\w+)|\?|\$\w*/g,
} as const satisfies Record<SqlEngine, RegExp>;

/** Reads a query; a string says what is wrong with it. */
export function readSqlQuery(source: string, engine: SqlEngine): SqlQuery | string {
  const order: ('u' | 'n' | 'd')[] = [];
  let wrong: string | undefined;
  const text = source.replace(token[engine], (whole: string, name: string | undefined) => {
    if (name === undefined) {
      const inside = /^['"`].*:(user|username|local_part|domain)\b/s.exec(whole)?.[1];
      if (inside !== undefined)
        wrong ??= `write :${inside} without quotes around it: it is bound, not written into the text`;
      else if (/^[$?@]/.test(whole))
        wrong ??= `"${whole}": values are named :user, :username, :local_part or :domain`;
      return whole;
    }
    const part = placeholders.get(name);
    if (part === undefined) {
      wrong ??= `unknown placeholder :${name} (:user, :username, :local_part or :domain)`;
      return whole;
    }
    order.push(part);
    return engine === 'pgsql' ? `$${order.length}` : '?';
  });
  if (wrong !== undefined) return wrong;
  if (order.length === 0)
    return 'it has no placeholder: everybody would get the same answer (write :user, for example)';
  return { text, values: (username) => order.map((part) => partOf(part, username)) };
}
