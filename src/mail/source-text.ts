/** Texts of a configuration that know where each of their octets stands. */
import type { SourcePart, SourcePosition, SourceText } from './diagnostic.ts';

/** The place of the octet at `offset`; one past the end is the place after the last octet. */
export function positionAt(source: SourceText, offset: number): SourcePosition {
  let best: SourcePart = { offset: 0, position: source.position };
  for (const part of source.parts ?? []) if (part.offset <= offset) best = part;
  if (best.macro === true) return best.position;
  return { ...best.position, column: best.position.column + Math.max(0, offset - best.offset) };
}

/** The part of a text from `start` up to, not with, `end`. */
export function sliceSource(source: SourceText, start: number, end: number = source.text.length): SourceText {
  const text = source.text.slice(start, end);
  const position = positionAt(source, start);
  const parts = source.parts;
  if (parts === undefined) return { text, position };
  const inside: SourcePart[] = [];
  for (const part of parts) {
    if (part.offset >= end) break;
    if (part.offset > start) inside.push({ ...part, offset: part.offset - start });
    else {
      const first: SourcePart = part.macro === true ? { ...part, offset: 0 } : { offset: 0, position };
      inside[0] = first;
    }
  }
  return inside.length <= 1 && inside[0]?.macro !== true
    ? { text, position }
    : { text, position, parts: inside };
}

/** The text without white space at both ends. */
export function trimSource(source: SourceText): SourceText {
  const start = source.text.length - source.text.trimStart().length;
  const end = source.text.trimEnd().length;
  return start === 0 && end === source.text.length
    ? source
    : sliceSource(source, start, Math.max(start, end));
}
