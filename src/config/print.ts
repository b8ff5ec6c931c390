/** Options as `exim -bP` prints them (Exim manual, "-bP"). */
import { formatTimeInterval } from '../mail/time-interval.ts';
import { joinList, splitList } from '../mail/list-text.ts';
import type { Given, GivenOptions } from './model.ts';
import type { AnyValue, OptionSpec, OptionTable } from './options/table.ts';
import { defaultValue } from './values.ts';

/** How options are printed: all that `-bP` depends on besides the options. */
export interface PrintStyle {
  /** Values that take the place of the table's defaults. */
  readonly derived?: ReadonlyMap<string, AnyValue>;
  /** Options whose values may not be shown. */
  readonly hidden?: ReadonlySet<string>;
  /** `-n`: without names, besides those of switches. */
  readonly withoutNames?: boolean;
}

/** One option's line without the line end: `name`, `no_name`, `name = value`. */
export function formatOption(
  name: string,
  spec: OptionSpec,
  given: GivenOptions,
  style: PrintStyle = {},
): string {
  const label = style.withoutNames === true ? '' : `${name} = `;
  if (style.hidden?.has(name) === true) return `${label}<value not displayable>`;
  const setting = given.get(name);
  const derived = setting === undefined ? style.derived?.get(name) : undefined;
  const value = setting?.value ?? derived ?? defaultValue(spec);
  if (spec.type === 'boolean' && typeof value !== 'string') return value === true ? name : `no_${name}`;
  const text = textOf(spec, setting, derived);
  // Exim prints unset numbers and lists of users without the space.
  if (text === '' && spec.type === 'fixed-point') return `${name} =`;
  if (text === '' && (spec.type === 'user-list' || spec.type === 'group-list')) return label.trimEnd();
  return `${label}${escapeText(text)}`;
}

function textOf(spec: OptionSpec, setting: Given | undefined, derived: AnyValue | undefined): string {
  if (setting !== undefined)
    return sourceText(
      setting.sources.map((s) => s.text),
      setting.value,
      spec,
    );
  return derived === undefined ? defaultText(spec) : formatValue(derived, spec);
}

/** All options of a table, in its order of the alphabet, one a line. */
export function formatOptions(table: OptionTable, given: GivenOptions, style: PrintStyle = {}): string[] {
  return Object.keys(table)
    .toSorted()
    .map((name) => formatOption(name, table[name] ?? missing(name), given, style));
}

/** A value in the form of its type, without its name. */
export function formatValue(value: AnyValue, spec: OptionSpec): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return formatNumber(value, spec);
  if (spec.type === 'time-list') return value.map((ms) => formatTimeInterval(Number(ms))).join(':');
  const items = value.map(String);
  if (spec.repeat === 'condition') return joinConditions(items);
  return spec.repeat === undefined ? joinList(items) : joinTexts(items, spec.repeat);
}

/** Lists whose usual separator is `separator`, as one list. */
function joinTexts(texts: readonly string[], separator: string): string {
  const items = texts.flatMap((text) => splitList(/^\s*<[^\w\s]/.test(text) ? text : `<${separator}${text}`));
  const doubles = separator > ' ';
  return items
    .map((item) => (doubles ? item.replaceAll(separator, separator + separator) : item))
    .join(separator);
}

function formatNumber(value: number, spec: OptionSpec): string {
  return formats.get(spec.type)?.(value) ?? String(value);
}

const formats: ReadonlyMap<OptionSpec['type'], (value: number) => string> = new Map([
  ['time', formatTimeInterval],
  ['octal', (value) => (value === 0 ? '0' : `0${value.toString(8)}`)],
  ['size', (value) => scaled(value, ['', 'K', 'M'])],
  ['kilobytes', (value) => scaled(value, ['K', 'M', 'G'])],
  ['fixed-point', (value) => (Number.isInteger(value) ? value.toFixed(1) : String(value))],
]);

/** With the largest suffix that leaves a whole number; zero has none. */
function scaled(value: number, suffixes: readonly string[]): string {
  if (value === 0) return '0';
  let n = value;
  let i = 0;
  while (i + 1 < suffixes.length && n % 1024 === 0) {
    n /= 1024;
    i++;
  }
  return `${n}${suffixes[i] ?? ''}`;
}

/** Several `condition` settings as the one that they mean. */
function joinConditions(items: readonly string[]): string {
  const [first = ''] = items;
  return items.length < 2 ? first : `\${if and{${items.map((c) => `{bool_lax{${c}}}`).join('')}}}`;
}

function defaultText(spec: OptionSpec): string {
  const value = defaultValue(spec);
  if (value === undefined) return '';
  return typeof spec.default === 'string' && typeof value !== 'number'
    ? spec.default
    : formatValue(value, spec);
}

/** Lists, and numbers that could be expansions, are printed as they were written, all else in the form of its type. */
function sourceText(sources: readonly string[], value: AnyValue, spec: OptionSpec): string {
  const [first] = sources;
  const isList = Array.isArray(value) && spec.type !== 'time-list' && spec.repeat === undefined;
  const asWritten = isList || (spec.expand === true && typeof value === 'number' && spec.type !== 'time');
  return asWritten && first !== undefined && sources.length === 1 ? first : formatValue(value, spec);
}

/** Control characters as escapes. */
function escapeText(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, (c) => {
    const letter = '\b\f\n\r\t\v'.indexOf(c);
    return letter >= 0 ? `\\${'bfnrtv'.charAt(letter)}` : `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}

function missing(name: string): never {
  throw new Error(`no option ${name}`);
}
