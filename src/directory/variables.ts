/**
 * Dovecot's %-variables for the name of a user (Dovecot manual, "Variables"): `%u` the whole name, `%n` what stands before its
 * last `@`, `%d` what stands behind it, `%%`; the long names `%{user} %{username} %{domain}`; modifiers `L` and `U` for case.
 * Pure text work; texts are octets.
 */
import { lowerAscii } from '../mail/local-part.ts';

export interface VariableText {
  /** What stands before the first variable. */
  readonly prefix: string;
  /** False: the text is the same for everybody. */
  readonly varies: boolean;
  /** @param escape what each value goes through after its change of case */
  expand(username: string, escape?: (value: string) => string): string;
}

type Name = 'u' | 'n' | 'd';
interface Variable {
  readonly name: Name;
  readonly letterCase: '' | 'L' | 'U';
}

const longNames: Readonly<Record<string, Name>> = { user: 'u', username: 'n', domain: 'd' };

/** Reads a text with variables; a string says what is wrong with it. */
export function readVariables(text: string): VariableText | string {
  const parts: (string | Variable)[] = [];
  let literal = '';
  let rest = text;
  for (let at = rest.indexOf('%'); at >= 0; at = rest.indexOf('%')) {
    literal += rest.slice(0, at);
    const m = /^%(?:(%)|([LU]?)(?:([und])|\{(user|username|domain)\}))/.exec(rest.slice(at));
    if (m === null) return `unknown variable ${/^%\{[^}]*\}?|^%[LU]?.?/s.exec(rest.slice(at))?.[0] ?? '%'}`;
    const [whole, percent, letterCase = '', short, long = ''] = m;
    rest = rest.slice(at + whole.length);
    if (percent !== undefined) {
      literal += '%';
      continue;
    }
    if (literal !== '') parts.push(literal);
    literal = '';
    const name = (short as Name | undefined) ?? longNames[long] ?? 'u';
    parts.push({ name, letterCase: letterCase as Variable['letterCase'] });
  }
  literal += rest;
  if (literal !== '') parts.push(literal);
  const [first] = parts;
  return {
    prefix: typeof first === 'string' ? first : '',
    varies: parts.some((p) => typeof p !== 'string'),
    expand(username, escape = (value) => value) {
      let made = '';
      for (const part of parts) made += typeof part === 'string' ? part : escape(valueOf(part, username));
      return made;
    },
  };
}

function valueOf({ name, letterCase }: Variable, username: string): string {
  const value = partOf(name, username);
  return letterCase === 'L' ? lowerAscii(value) : letterCase === 'U' ? upperAscii(value) : value;
}

/** One of the parts of a user's name. */
export function partOf(name: Name, username: string): string {
  if (name === 'u') return username;
  const at = username.lastIndexOf('@');
  if (name === 'n') return at < 0 ? username : username.slice(0, at);
  return at < 0 ? '' : username.slice(at + 1);
}

function upperAscii(text: string): string {
  return text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}
