/** Gives settings their meaning by the option tables: types, defaults, what is refused or ignored. */
import { commandWords } from '../expand/command-words.ts';
import { parseTemplate } from '../expand/expand.ts';
import { taintProblems } from '../expand/taint.ts';
import { itemsIn } from '../expand/walk.ts';
import { positionAt } from '../mail/source-text.ts';
import type { Given, GivenOptions } from './model.ts';
import { ignoredReasons, refusedReasons } from './options/reasons.ts';
import type { AnyValue, OptionSpec, OptionTable, OptionValues } from './options/table.ts';
import { formatValue } from './print.ts';
import type { Report } from './report.ts';
import type { Setting } from './setting.ts';
import { didYouMean } from '../mail/suggest.ts';
import { defaultValue, readValue, type ReadValue } from './values.ts';

/** Where the options of a setting are looked for. */
export interface OptionScope {
  /** `main option` or `option`, for messages. */
  readonly what: string;
  find(name: string): OptionSpec | undefined;
  /** What a name stands for: itself, or others in its place. */
  resolve(name: string): readonly string[];
  /** All names, for "did you mean"; undefined where an unknown name should not be reported. */
  readonly names: Iterable<string> | undefined;
  /** False where a refused driver is reported already. */
  readonly checkStatus: boolean;
}

/** Reads settings in order. What is wrong is reported, and that setting left out. */
export function interpret(settings: readonly Setting[], scope: OptionScope, report: Report): GivenOptions {
  const given = new Map<string, Given>();
  for (const setting of settings) {
    const names = scope.resolve(setting.name);
    const spec = scope.find(names[0] ?? '');
    if (spec === undefined) {
      reportUnknown(setting, scope, report);
      continue;
    }
    const read = readValue(setting, spec, report);
    if (read === undefined) continue;
    if (spec.repeat === undefined && names.some((name) => given.has(name))) {
      report.error(setting.position, `"${setting.fullName}" option set for the second time`);
      continue;
    }
    if (scope.checkStatus && !checkStatus(setting, spec, read.value, report)) continue;
    checkExpansion(setting, spec, read, report);
    for (const name of names) addTo(given, name, setting, spec, read);
  }
  return given;
}

function addTo(
  given: Map<string, Given>,
  name: string,
  setting: Setting,
  spec: OptionSpec,
  read: ReadValue,
): void {
  const before = given.get(name);
  const value = spec.repeat === undefined ? read.value : [...texts(before?.value), String(read.value)];
  given.set(name, {
    value,
    sources: [...(before?.sources ?? []), ...(read.source === undefined ? [] : [read.source])],
    position: before?.position ?? setting.position,
    hidden: setting.hidden || before?.hidden === true,
  });
}

function texts(value: AnyValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function reportUnknown(setting: Setting, scope: OptionScope, report: Report): void {
  if (scope.names === undefined) return;
  if (scope.what === 'main option' && setting.name === 'begin') {
    report.error(
      setting.position,
      'main option "begin" unknown',
      'a section begins with "begin", a space and its name',
    );
    return;
  }
  report.error(
    setting.position,
    `${scope.what} "${setting.fullName}" unknown`,
    didYouMean(setting.name, scope.names),
  );
}

/** True where the value may be used. */
function checkStatus(setting: Setting, spec: OptionSpec, value: AnyValue, report: Report): boolean {
  const { status } = spec;
  if (status === 'works') return true;
  const { name, position } = setting;
  if ('ignored' in status) {
    report.note(position, `option "${name}" has no effect: ${ignoredReasons[status.ignored]}`);
    return true;
  }
  const reason = refusedReasons[status.refused];
  if ('only' in status) {
    const text = typeof value === 'boolean' ? String(value) : formatValue(value, spec);
    if (status.only.includes(text)) return true;
    const accepted = status.only.map((v) => (v === '' ? 'an empty value' : `"${v}"`)).join(' or ');
    report.error(
      position,
      `option "${name}" is not supported with this value: ${reason}`,
      `only ${accepted} is accepted`,
    );
    return false;
  }
  // What is off or unset anyway may be said to be so.
  if (
    (spec.default === false && value === false) ||
    (spec.default === undefined && formatValue(value, spec) === '')
  )
    return true;
  report.error(position, `option "${name}" is not supported: ${reason}`);
  return false;
}

function checkExpansion(setting: Setting, spec: OptionSpec, read: ReadValue, report: Report): void {
  if (spec.expand !== true || read.source === undefined || typeof read.value !== 'string') return;
  const { words } = spec;
  if (words !== undefined) {
    // Each word is expanded by itself, once its quotes are off.
    for (const word of commandWords(read.source.text)) {
      const template = words.includes(word) ? undefined : parseTemplate(word);
      if (template?.kind === 'template-error')
        report.error(
          read.source.position,
          `option "${setting.name}": ${template.reason}, in the word "${word}"`,
        );
    }
    return;
  }
  const template = parseTemplate(read.source.text);
  if (template.kind === 'template-error') {
    report.error(positionAt(read.source, template.offset), `option "${setting.name}": ${template.reason}`);
    return;
  }
  for (const { offset, message } of taintProblems(template.ast))
    report.warning(positionAt(read.source, offset), `option "${setting.name}": ${message}`);
  if (spec.atStart === true) {
    const waiting = itemsIn(template.ast).find((item) => item.name === 'run' || item.name === 'readsocket');
    if (waiting !== undefined)
      report.error(
        positionAt(read.source, waiting.position - 1),
        `option "${setting.name}": \${${waiting.name} cannot be used here, since this option is expanded once, at start-up`,
      );
    const variable = changingVariable(read.source.text);
    if (variable !== undefined)
      report.error(
        positionAt(read.source, variable.at),
        `option "${setting.name}": $${variable.name} is not known yet, since this option is expanded once, at start-up`,
      );
  }
}

/** Variables that keep their value while Mailchute runs. */
const constants: ReadonlySet<string> = new Set(
  'config_dir config_file exim_path exim_version primary_hostname qualify_domain qualify_recipient spool_directory version_number'.split(
    ' ',
  ),
);

/** The first variable in a template that depends on a connection, a message or the time. */
function changingVariable(text: string): { readonly name: string; readonly at: number } | undefined {
  for (const found of text.matchAll(/\\.|\$(?:([A-Za-z]\w*)|\{([A-Za-z]\w*)\})/gs)) {
    const name = found[1] ?? found[2];
    if (name !== undefined && !constants.has(name)) return { name, at: found.index };
  }
  return undefined;
}

/** Values of all options of a table that work: what is given, else the default. */
export function valuesOf<T extends OptionTable>(table: T, given: GivenOptions): OptionValues<T> {
  const values: Record<string, AnyValue | undefined> = {};
  for (const [name, spec] of Object.entries(table)) {
    if (spec.status === 'works') values[name] = given.get(name)?.value ?? defaultValue(spec);
  }
  // The table's own type says what defaultValue and readValue make of each row.
  return values as OptionValues<T>;
}
