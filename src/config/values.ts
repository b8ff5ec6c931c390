/** The value of an option from what stands after its equals sign, by the type its table gives. */
import type { SourceText } from '../mail/diagnostic.ts';
import { splitList } from '../mail/list-text.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';
import { positionAt } from '../mail/source-text.ts';
import { readFixedPoint, readInteger, readKilobytes } from './number-value.ts';
import type { AnyValue, OptionSpec } from './options/table.ts';
import type { Report } from './report.ts';
import type { Setting } from './setting.ts';
import { readString } from './text-value.ts';

/** A value with the text it was read from. */
export interface ReadValue {
  readonly value: AnyValue;
  /** Without quotes and escapes; its positions are those of the file. Absent for a switch without value. */
  readonly source?: SourceText;
}

/** Reads the value of a setting; undefined after reporting what is wrong with it. */
export function readValue(setting: Setting, spec: OptionSpec, report: Report): ReadValue | undefined {
  if (spec.type === 'boolean') return readBoolean(setting, spec, report);
  const name = setting.fullName;
  if (setting.negated) {
    report.error(
      setting.position,
      'negation prefix applied to a non-boolean option',
      `${setting.name} is no switch`,
    );
    return undefined;
  }
  const source = setting.value;
  if (source === undefined) {
    report.error(
      setting.position,
      setting.extra === undefined
        ? `unexpected end of line (data missing) after ${name}`
        : `missing "=" after ${name}`,
    );
    return undefined;
  }
  if (isText(spec.type)) return readText(source, name, spec, report);
  const parsed = parseNonText(source.text, spec, name);
  if ('wrong' in parsed) {
    report.error(source.position, parsed.wrong);
    return undefined;
  }
  return { value: parsed.value, source };
}

/** What a table's default means; undefined for unset. Throws where the table is malformed, which the tests would show. */
export function defaultValue(spec: OptionSpec): AnyValue | undefined {
  const text = spec.default;
  if (text === undefined || typeof text === 'boolean') return text;
  if (isText(spec.type)) return textValue(text, spec);
  const parsed = parseNonText(text, spec, 'a default');
  if ('wrong' in parsed) throw new Error(parsed.wrong);
  return parsed.value;
}

function isText(type: OptionSpec['type']): boolean {
  return type !== 'boolean' && !readers.has(type);
}

function textValue(text: string, spec: OptionSpec): AnyValue {
  const splits = spec.type === 'list' || spec.type === 'user-list' || spec.type === 'group-list';
  return splits && spec.expand !== true ? splitList(text) : text;
}

function readText(source: SourceText, name: string, spec: OptionSpec, report: Report): ReadValue | undefined {
  const string = readString(source, name);
  if ('wrong' in string) {
    report.error(positionAt(source, string.at), string.wrong);
    return undefined;
  }
  const { text } = string.value;
  if (spec.oneOf !== undefined && !spec.oneOf.includes(text)) {
    report.error(
      string.value.position,
      `"${text}" is not a valid value for ${name}`,
      `one of ${spec.oneOf.join(', ')}`,
    );
    return undefined;
  }
  return { value: textValue(text, spec), source: string.value };
}

type Parsed = { readonly value: AnyValue } | { readonly wrong: string };

/** Readers of types that are neither texts nor switches. */
const readers: ReadonlyMap<OptionSpec['type'], (text: string, name: string) => Parsed> = new Map<
  OptionSpec['type'],
  (text: string, name: string) => Parsed
>([
  ['integer', (text, name) => readInteger(text, name)],
  ['size', (text, name) => readInteger(text, name)],
  ['kilobytes', readKilobytes],
  ['octal', readOctal],
  ['fixed-point', readFixedPoint],
  ['time', parseTime],
  ['time-list', parseTimeList],
]);

function parseNonText(text: string, spec: OptionSpec, name: string): Parsed {
  // An expansion is left for later; anything else must be a number or time now.
  if (spec.expand === true && text.includes('$')) return { value: text };
  const read = readers.get(spec.type);
  return read === undefined ? { value: text } : read(text, name);
}

function readOctal(text: string, name: string): Parsed {
  return readInteger(text, name, 8);
}

function parseTime(text: string, name: string): Parsed {
  const ms = parseTimeInterval(text);
  return ms === undefined ? { wrong: `invalid time value for ${name}` } : { value: ms };
}

/** Times parted by colons; an empty text or a first time of nothing is an empty list (Exim manual, "delay_warning"). */
function parseTimeList(text: string, name: string): Parsed {
  if (text === '') return { value: [] };
  const times: number[] = [];
  for (const item of text.split(':')) {
    const ms = parseTimeInterval(item.trim());
    if (ms === undefined) return { wrong: `invalid time value for ${name}` };
    times.push(ms);
  }
  return { value: times[0] === 0 ? [] : times };
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['', true],
  ['false', false],
  ['no', false],
]);

function readBoolean(setting: Setting, spec: OptionSpec, report: Report): ReadValue | undefined {
  const { value: source, fullName } = setting;
  if (setting.extra !== undefined || (setting.negated && source !== undefined)) {
    report.error(
      (setting.extra ?? source ?? setting).position,
      `extra characters follow boolean option ${fullName}`,
    );
    return undefined;
  }
  if (source === undefined) return { value: !setting.negated };
  const end = source.text.search(/\s|$/);
  const word = source.text.slice(0, end);
  const value = booleans.get(word.toLowerCase());
  if (value === undefined) {
    if (spec.expand === true && source.text.includes('$')) return readText(source, fullName, spec, report);
    report.error(
      source.position,
      `"${word}" is not a valid value for the "${fullName}" option`,
      'true, false, yes or no',
    );
    return undefined;
  }
  if (source.text.trimEnd().length > end) {
    report.error(positionAt(source, end), `extra characters follow "${word}" for boolean option ${fullName}`);
    return undefined;
  }
  return { value, source };
}
