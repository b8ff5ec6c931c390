/** A message with its header edits applied: octets are shared with the original wherever nothing changes. */
import { type HeaderEdit, type HeaderField, parseHeaderFields } from '../mail/headers.ts';
import type { MessageSource } from '../mail/message-source.ts';

/**
 * Applies edits in order. `top` goes before all, `after-received` behind the block of Received fields at the top,
 * `bottom` in front of the blank line. A removal concerns every field of that name (`*` at its end stands for any rest)
 * that the message has or an earlier edit added.
 *
 * @param headerSize length of the header section with its blank line, octets
 */
export async function editContent(
  source: MessageSource,
  headerSize: number,
  edits: readonly HeaderEdit[],
  signal: AbortSignal,
): Promise<MessageSource> {
  if (edits.length === 0) return source;
  const prefix = topOnly(edits);
  if (prefix !== undefined) return joined(Buffer.from(prefix, 'latin1'), source, 0);
  const section = await readStart(source, headerSize, signal);
  return joined(Buffer.from(editSection(section.toString('latin1'), edits), 'latin1'), source, headerSize);
}

/** The first `length` octets. */
export async function readStart(source: MessageSource, length: number, signal: AbortSignal): Promise<Buffer> {
  const wanted = Math.min(length, source.size);
  const { bytes } = source;
  if (bytes !== undefined) return Buffer.from(bytes.buffer, bytes.byteOffset, wanted);
  const parts: Uint8Array[] = [];
  let got = 0;
  for await (const chunk of source.open(signal)) {
    parts.push(got + chunk.length > wanted ? chunk.subarray(0, wanted - got) : chunk);
    got += chunk.length;
    if (got >= wanted) break;
  }
  return Buffer.concat(parts);
}

/** The text of edits that only put fields at the top, else undefined: the message then needs not be looked at. */
function topOnly(edits: readonly HeaderEdit[]): string | undefined {
  let out = '';
  for (const edit of edits) {
    if (edit.kind !== 'add' || edit.where !== 'top') return undefined;
    out = edit.text + out;
  }
  return out;
}

function editSection(section: string, edits: readonly HeaderEdit[]): string {
  const blank = section.endsWith('\r\n\r\n') || section === '\r\n' ? '\r\n' : '';
  return (
    editFields(section, edits)
      .map((f) => f.raw)
      .join('') + blank
  );
}

/** The fields of a section with edits applied; `section` may end in its blank line. */
export function editFields(section: string, edits: readonly HeaderEdit[]): readonly HeaderField[] {
  let fields: HeaderField[] = parseHeaderFields(section);
  // A section without a final line end (a message of header fields only) needs one before anything can follow.
  const last = fields.at(-1);
  if (last !== undefined && !last.raw.endsWith('\n'))
    fields[fields.length - 1] = { ...last, raw: `${last.raw}\r\n` };
  for (const edit of edits) {
    if (edit.kind === 'replace') {
      const [field] = parseHeaderFields(edit.text);
      if (field !== undefined && edit.at < fields.length) fields[edit.at] = field;
      continue;
    }
    if (edit.kind === 'remove') {
      const name = edit.name.toLowerCase().replace(/:$/, '');
      const start = name.endsWith('*') ? name.slice(0, -1) : undefined;
      fields = fields.filter((f) => {
        const found = f.name.toLowerCase();
        return start === undefined ? found !== name : found === '' || !found.startsWith(start);
      });
      continue;
    }
    const added = parseHeaderFields(edit.text);
    if (edit.where === 'bottom') fields = [...fields, ...added];
    else {
      let at = 0;
      if (edit.where === 'after-received') while (fields[at]?.name.toLowerCase() === 'received') at++;
      fields = [...fields.slice(0, at), ...added, ...fields.slice(at)];
    }
  }
  return fields;
}

/** `head` in place of the first `skip` octets of `source`. */
function joined(head: Buffer, source: MessageSource, skip: number): MessageSource {
  const { bytes } = source;
  const size = head.length + source.size - skip;
  if (bytes !== undefined) {
    const rest = skip === 0 ? bytes : bytes.subarray(skip);
    let whole: Buffer | undefined;
    return {
      size,
      // Put together only when it is asked for: a transport that reads in chunks copies nothing.
      get bytes() {
        whole ??= Buffer.concat([head, rest]);
        return whole;
      },
      open: async function* (): AsyncGenerator<Uint8Array> {
        yield head;
        if (rest.length > 0) yield rest;
      },
    };
  }
  return {
    size,
    ...(source.growing === true ? { growing: true } : undefined),
    open: async function* (signal): AsyncGenerator<Uint8Array> {
      yield head;
      let left = skip;
      for await (const chunk of source.open(signal)) {
        if (left >= chunk.length) left -= chunk.length;
        else {
          yield left === 0 ? chunk : chunk.subarray(left);
          left = 0;
        }
      }
    },
  };
}
