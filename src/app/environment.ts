/** The environment that expansions and commands see (Exim manual, "Environment"): `keep_environment`, `add_environment`. */
import { compileRegex } from '../expand/regex.ts';

/** One item of `keep_environment`: a name, `*ending` or a regular expression. */
function itemMatches(item: string, name: string): boolean {
  if (item.startsWith('^')) {
    const regex = compileRegex(item);
    return regex.kind === 'regex' && regex.match(name)?.kind === 'match';
  }
  return item.startsWith('*') ? name.endsWith(item.slice(1)) : item === name;
}

function isKept(items: readonly string[], name: string): boolean {
  const found = items.find((item) => itemMatches(item.replace(/^!\s*/, ''), name));
  if (found !== undefined) return !found.startsWith('!');
  return items.at(-1)?.startsWith('!') === true;
}

/**
 * @param keep names to keep
 * @param add items `NAME=value`
 * @returns texts of one octet a character
 */
export function keptEnvironment(
  keep: readonly string[],
  add: readonly string[],
  environment: NodeJS.ProcessEnv,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment))
    if (value !== undefined && isKept(keep, name)) kept[name] = Buffer.from(value, 'utf8').toString('latin1');
  for (const item of add) {
    const at = item.indexOf('=');
    if (at > 0) kept[item.slice(0, at)] = item.slice(at + 1);
  }
  return kept;
}
