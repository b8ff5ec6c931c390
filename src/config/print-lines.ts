/** `-bP config`: the file as it was read (Exim manual, "-bP"). */
import { notDisplayable, type PrintFor } from './print-model.ts';
import type { ConfigLine } from './read.ts';

/** The lines, indented by what they belong to; with `-n` neither that nor blank lines between the parts. */
export function printLines(lines: readonly ConfigLine[], ask: PrintFor): string[] {
  const step = ask.withoutNames ? 0 : 2;
  const out: string[] = ['# Exim Configuration (4.96)'];
  let indent = 0;
  const heading = (text: string, at: number): void => {
    if (!ask.withoutNames) out.push('');
    out.push(' '.repeat(at) + text);
  };
  for (const line of lines) {
    if (!('text' in line)) {
      out.push(`# ${line.line} "${line.file}"`);
      continue;
    }
    const text = collapsed(line.text);
    if (/^begin\s/.test(text)) {
      heading(text, 0);
      indent = step;
    } else if (text.endsWith(':') && !text.includes('=')) {
      heading(text, step);
      indent = 2 * step;
    } else if (!ask.admin && /^(?:[A-Z]|hide\s)/.test(text)) {
      const equals = text.indexOf('=');
      // As in Exim, a switch that is hidden is not even named.
      out.push(
        equals < 0 ? notDisplayable : `${' '.repeat(indent)}${text.slice(0, equals)}= ${notDisplayable}`,
      );
    } else out.push(' '.repeat(indent) + text);
  }
  return out;
}

/**
 * Runs of white space as one space, up to what may be formatted with care: a single space before a quote or an expansion.
 * (After a longer run Exim looks at the place where the next word stood before.)
 */
function collapsed(text: string): string {
  let out = text;
  for (let at = out.search(/\s/); at >= 0; ) {
    let next = at;
    while (/\s/.test(out.charAt(next))) next++;
    out = `${out.slice(0, at)} ${out.slice(next)}`;
    if (/["'$]/.test(out.charAt(next))) break;
    const following = out.slice(at + 1).search(/\s/);
    at = following < 0 ? -1 : at + 1 + following;
  }
  return out;
}
