/** From an address to the name under which a directory knows the user: Dovecot's auth_username_chars and auth_username_format. */
import type { Address } from '../mail/address.ts';
import { lowerAscii, unquoteLocalPart } from '../mail/local-part.ts';
import { partOf, readVariables } from './variables.ts';

export interface UsernameRules {
  /** `auth_username_format`: `%Lu` (the default), `%Ln`, `%n`, `%n-at-%d`... */
  readonly format?: string;
  /** Characters that names may have, before the format; empty: every octet but control characters. Default: Dovecot's. */
  readonly chars?: string;
}

export const defaultUsernameChars = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@';

/** The name, or undefined where nobody can be called so. */
export type Username = (address: Address) => string | undefined;

/** A text says what is wrong with the format. */
export function usernameRule({
  format = '%Lu',
  chars = defaultUsernameChars,
}: UsernameRules): Username | string {
  const variables = readVariables(format);
  if (typeof variables === 'string') return variables;
  if (!variables.varies) return `"${format}" makes one name of all: it needs %u or %n`;
  const allowed = new Uint8Array(256);
  if (chars === '') allowed.fill(1, 0x20).fill(0, 0x7f, 0x80);
  else for (const c of chars) allowed[c.charCodeAt(0)] = 1;
  const make = usual[format] ?? ((name: string): string => variables.expand(name));
  return ({ local, domain }) => {
    const bare = unquoteLocalPart(local);
    const name = domain === '' ? bare : `${bare}@${domain}`;
    for (let i = 0; i < name.length; i++) if (allowed[name.charCodeAt(i)] !== 1) return undefined;
    return make(name);
  };
}

/** The usual formats without going through a template. */
const usual: Readonly<Record<string, (name: string) => string>> = {
  '%Lu': lowerAscii,
  '%Ln': (name) => lowerAscii(partOf('n', name)),
  '%u': (name) => name,
  '%n': (name) => partOf('n', name),
};
