/**
 * Macros (Exim manual, "Macros in the configuration file"). A line is searched for every macro in the order of their
 * definition; what a macro stands for is searched only for macros defined later, and built-in macros are looked for
 * only where the first possible name in the line begins with an underscore, as Exim does.
 */
import type { SourcePart, SourcePosition } from '../mail/diagnostic.ts';

interface Macro {
  readonly name: string;
  text: string;
  readonly origin: 'built-in' | 'command line' | 'file';
}

/** A physical line after replacement. */
export interface Replaced {
  readonly text: string;
  /** True where any macro occurred: what `.ifdef` asks. */
  readonly found: boolean;
  /** Column (from 1) of each octet, negative where the octet belongs to a macro that stands at that column. Absent: nothing was replaced. */
  readonly columns?: readonly number[];
}

export interface Macros {
  /** Replaces macros in `text`, not looking before `from`. An error text where the line grew too long. */
  replace(text: string, from: number): Replaced | string;
  /** `=` or `==`; an error text where Exim refuses it. */
  define(name: string, text: string, redefine: boolean): string | undefined;
  /** All of them in order, for `-bP macros`. */
  list(): readonly { readonly name: string; readonly text: string }[];
}

/** A line may not grow beyond this, in octets: macros that contain each other grow by powers. */
export const maxLineOctets: number = 1024 * 1024;

/**
 * @param builtIn names of built-in macros, each with the value `y`
 * @param defines from `-D` on the command line; definitions of the same name in the file are ignored
 */
export function createMacros(builtIn: readonly string[], defines: ReadonlyMap<string, string>): Macros {
  const macros: Macro[] = builtIn.map((name) => ({ name, text: 'y', origin: 'built-in' }));
  // The longer name first where one holds the other; file macros can never be in that position.
  macros.sort((a, b) => b.name.length - a.name.length);
  for (const [name, text] of defines) macros.push({ name, text, origin: 'command line' });
  const firstOfUser = builtIn.length;

  return {
    replace(text, from) {
      const start = firstCandidate(text, from);
      if (start === text.length) return { text, found: false };
      let line = text;
      let columns: number[] | undefined;
      for (let i = text[start] === '_' ? 0 : firstOfUser; i < macros.length; i++) {
        const macro = macros[i];
        if (macro === undefined) break;
        let at = line.indexOf(macro.name, start);
        while (at >= 0) {
          columns ??= Array.from({ length: line.length }, (_, n) => n + 1);
          const column = -Math.abs(columns[at] ?? 1);
          if (line.length + macro.text.length > maxLineOctets)
            return `line is too long after macro "${macro.name}" was replaced`;
          columns = [
            ...columns.slice(0, at),
            ...Array.from({ length: macro.text.length }, () => column),
            ...columns.slice(at + macro.name.length),
          ];
          line = line.slice(0, at) + macro.text + line.slice(at + macro.name.length);
          at = line.indexOf(macro.name, at + macro.text.length);
        }
      }
      return columns === undefined ? { text, found: false } : { text: line, found: true, columns };
    },

    define(name, text, redefine) {
      const known = macros.find((m) => m.name === name);
      if (known !== undefined) {
        if (known.origin === 'command line') return undefined;
        if (!redefine) return `macro "${name}" is already defined (use "==" if you want to redefine it)`;
        known.text = text;
        return undefined;
      }
      if (redefine) return `can't redefine an undefined macro "${name}"`;
      const inside = macros.find((m) => name.includes(m.name));
      if (inside !== undefined)
        return `"${name}" cannot be defined as a macro because previously defined macro "${inside.name}" is a substring`;
      macros.push({ name, text, origin: 'file' });
      return undefined;
    },

    list: () => macros.map(({ name, text }) => ({ name, text })),
  };
}

export function isUpper(c: string | undefined): boolean {
  return c !== undefined && c >= 'A' && c <= 'Z';
}

/** The first place where a macro's name can begin: a capital, or an underscore before one. */
function firstCandidate(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (isUpper(text[i]) || (text[i] === '_' && isUpper(text[i + 1]))) return i;
  }
  return text.length;
}

/** Runs of a replaced line from octet `from` on, for a text in which they begin at `offset`. */
export function partsOf(
  line: Replaced,
  from: number,
  offset: number,
  file: string,
  lineNumber: number,
): SourcePart[] {
  const place = (column: number): SourcePosition => ({ file, line: lineNumber, column });
  const { columns } = line;
  if (columns === undefined) return [{ offset, position: place(from + 1) }];
  const parts: SourcePart[] = [];
  let previous = 0;
  for (let i = from; i < line.text.length; i++) {
    const column = columns[i] ?? 1;
    const continues = column < 0 ? column === previous : previous > 0 && column === previous + 1;
    if (!continues) {
      const at = { offset: offset + i - from, position: place(Math.abs(column)) };
      parts.push(column < 0 ? { ...at, macro: true } : at);
    }
    previous = column;
  }
  return parts.length === 0 ? [{ offset, position: place(Math.abs(columns[from] ?? 1)) }] : parts;
}
