/** From an LDAP entry to a user's fields: Dovecot's user_attrs (manual, "LDAP/Userdb"). Texts are octets. */
import { readVariables, type VariableText } from '../variables.ts';

export interface LdapAttributes {
  /** What the server is asked for. */
  readonly asked: readonly string[];
  /** @param values by attribute name in small letters */
  fieldsOf(username: string, values: ReadonlyMap<string, string>): Map<string, string>;
}

type Piece = VariableText | { readonly attribute: string; readonly otherwise: string };

interface Rule {
  /** The field is there only where the entry has this. */
  readonly needs: string | undefined;
  readonly field: string;
  readonly pieces: readonly Piece[];
}

/**
 * Items are `attribute=field`, `=field=text` and `attribute=field=text`; in a text, `%{ldap:attribute}` and
 * `%{ldap:attribute:otherwise}` stand for a value, `%$` for the one of `attribute`, and `%u %n %d` are known. A string says what is wrong.
 */
export function readLdapAttributes(items: readonly string[]): LdapAttributes | string {
  const rules: Rule[] = [];
  const asked = new Set<string>();
  for (const item of items) {
    const m = /^([\w.;-]*)=([\w.-]+)(?:=(.*))?$/s.exec(item);
    const [, attribute = '', field = '', text] = m ?? [];
    if (m === null || (attribute === '' && text === undefined))
      return `"${item}" is not of the form attribute=field, =field=text or attribute=field=text`;
    const pieces = readPieces(text ?? '%$', attribute);
    if (typeof pieces === 'string') return `"${item}": ${pieces}`;
    rules.push({ needs: attribute === '' ? undefined : attribute.toLowerCase(), field, pieces });
    if (attribute !== '') asked.add(attribute);
    for (const piece of pieces) if ('attribute' in piece) asked.add(piece.attribute);
  }
  return {
    // An empty list would ask for all attributes; 1.1 asks for none (RFC 4511 §4.5.1.8).
    asked: asked.size === 0 ? ['1.1'] : [...asked],
    fieldsOf(username, values) {
      const fields = new Map<string, string>();
      for (const { needs, field, pieces } of rules)
        if (needs === undefined || values.has(needs))
          fields.set(field, pieces.map((piece) => textOfPiece(piece, username, values)).join(''));
      return fields;
    },
  };
}

function readPieces(text: string, attribute: string): Piece[] | string {
  const pieces: Piece[] = [];
  let at = 0;
  const addText = (end: number): string | undefined => {
    if (end === at) return undefined;
    const variables = readVariables(text.slice(at, end));
    if (typeof variables === 'string') return variables;
    pieces.push(variables);
    return undefined;
  };
  for (const m of text.matchAll(/%%|%\$|%\{ldap:([\w.;-]+)(?::([^}]*))?\}/g)) {
    const [whole, name, otherwise = ''] = m;
    if (whole === '%%') continue;
    const problem = addText(m.index);
    if (problem !== undefined) return problem;
    at = m.index + whole.length;
    if (whole === '%$' && attribute === '') return '%$ without an attribute';
    pieces.push({ attribute: name ?? attribute, otherwise });
  }
  return addText(text.length) ?? pieces;
}

function textOfPiece(piece: Piece, username: string, values: ReadonlyMap<string, string>): string {
  if ('expand' in piece) return piece.expand(username);
  return values.get(piece.attribute.toLowerCase()) ?? piece.otherwise;
}

/** A value in a filter (RFC 4515 §3). */
export function escapeFilter(value: string): string {
  return value.replace(/[\x00-\x1f*()\\\x7f]/g, hex);
}

/** A value in a distinguished name (RFC 4514 §2.4). */
export function escapeDn(value: string): string {
  return value.replace(/^[ #]|[\x00-\x1f"+,;<=>\\\x7f]| $/g, hex);
}

function hex(octet: string): string {
  return `\\${octet.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
