/** Finding an ACL by name or text (Exim manual, "Finding an ACL to use"). */
import type { SourceText } from '../mail/diagnostic.ts';
import type { Acl } from './ast.ts';
import { parseAcl } from './parse.ts';

export type FoundAcl =
  | { readonly kind: 'named' | 'inline'; readonly acl: Acl }
  | { readonly kind: 'broken'; readonly reason: string };

/** A text without spaces is a name first; what is no name is an ACL in itself. */
export function findAcl(acls: ReadonlyMap<string, Acl>, text: string): FoundAcl {
  if (!text.includes(' ')) {
    const acl = acls.get(text);
    if (acl !== undefined) return { kind: 'named', acl };
    if (text.startsWith('/'))
      return { kind: 'broken', reason: `an ACL in a file of its own is not supported: "${text}"` };
  }
  return inlineAcl(text);
}

const inline = new Map<string, FoundAcl>();
const maxInline = 200;

function inlineAcl(text: string): FoundAcl {
  const known = inline.get(text);
  if (known !== undefined) return known;
  const found = readInline(text);
  if (inline.size >= maxInline) inline.clear();
  inline.set(text, found);
  return found;
}

function readInline(text: string): FoundAcl {
  const position = { file: 'inline ACL', line: 1, column: 1 };
  const { acl, diagnostics } = parseAcl({ name: 'inline ACL', position, lines: inlineLines(text) });
  const first = diagnostics[0];
  return first === undefined ? { kind: 'inline', acl } : { kind: 'broken', reason: first.message };
}

/** Lines as in a file: comments and blank lines dropped, a backslash at the end joins the next line. */
function inlineLines(text: string): SourceText[] {
  const lines: SourceText[] = [];
  let open: { text: string; readonly position: SourceText['position'] } | undefined;
  text.split('\n').forEach((raw, i) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const continues = line.endsWith('\\');
    const body = continues ? line.slice(0, -1) : line;
    if (open === undefined) open = { text: body, position: { file: 'inline ACL', line: i + 1, column: 1 } };
    else open.text += body;
    if (continues) return;
    lines.push(open);
    open = undefined;
  });
  if (open !== undefined) lines.push(open);
  return lines;
}
