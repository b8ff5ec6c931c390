/** Driver instances from their settings: which driver, which options, what is wrong with them. */
import type { SourceText } from '../mail/diagnostic.ts';
import { interpret, type OptionScope, valuesOf } from './interpret.ts';
import type { DriverInstance } from './model.ts';
import { refusedReasons } from './options/reasons.ts';
import type { OptionSpec, OptionTable } from './options/table.ts';
import { aliases, type DriverSpec, type SectionSpec } from './options/tables.ts';
import type { Report } from './report.ts';
import type { RawInstance } from './sections.ts';
import type { Setting } from './setting.ts';
import { didYouMean } from '../mail/suggest.ts';
import { readString } from './text-value.ts';

/** An instance before its driver is known to the compiler. */
export type AnyInstance = DriverInstance<string, Readonly<Record<string, unknown>>>;

const driverOption: OptionSpec = { type: 'string', default: undefined, status: 'works' };

/**
 * Reads the instances of a section. An instance whose driver is unknown or refused is reported and left out.
 * Unlike Exim we take the driver's own options before `driver` too, with a warning.
 */
export function readInstances(
  section: SectionSpec,
  raw: readonly RawInstance[],
  report: Report,
): AnyInstance[] {
  const instances: AnyInstance[] = [];
  for (const instance of raw) {
    const choice = chooseDriver(section, instance, report);
    const given = interpret(instance.settings, scopeOf(section, choice?.spec), report);
    if (choice === undefined || isRefused(choice.spec)) continue;
    warnBeforeDriver(section, instance, choice.setting, report);
    const options = { ...valuesOf(section.options, given), ...valuesOf(choice.spec.options, given) };
    instances.push({ name: instance.name, driver: choice.name, position: instance.position, options, given });
  }
  return instances;
}

interface Choice {
  readonly name: string;
  readonly spec: DriverSpec;
  readonly setting: Setting;
}

function chooseDriver(section: SectionSpec, instance: RawInstance, report: Report): Choice | undefined {
  const { kind } = section;
  const setting = instance.settings.find((s) => s.name === 'driver' && !s.negated);
  if (setting === undefined) {
    report.error(instance.position, `no driver defined for ${kind} "${instance.name}"`);
    return undefined;
  }
  const source: SourceText | undefined = setting.value;
  const string = source === undefined ? undefined : readString(source, 'driver');
  // What is malformed here is reported with the other settings.
  if (source === undefined || string === undefined || 'wrong' in string) return undefined;
  const name = string.value.text;
  const spec = section.drivers.get(name);
  if (spec === undefined) {
    report.error(
      source.position,
      `${kind} ${instance.name}: cannot find ${kind} driver "${name}"`,
      didYouMean(name, section.drivers.keys()),
    );
    return undefined;
  }
  if (spec.status !== 'works' && 'refused' in spec.status)
    report.error(
      source.position,
      `${kind} driver "${name}" is not supported: ${refusedReasons[spec.status.refused]}`,
    );
  return { name, spec, setting };
}

function isRefused({ status }: DriverSpec): boolean {
  return status !== 'works' && 'refused' in status;
}

function scopeOf(section: SectionSpec, driver: DriverSpec | undefined): OptionScope {
  const synonyms = aliases[section.kind];
  const own = (table: OptionTable | undefined, name: string): OptionSpec | undefined =>
    table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
  return {
    what: 'option',
    find: (name) =>
      name === 'driver' ? driverOption : (own(section.options, name) ?? own(driver?.options, name)),
    resolve: (name) => synonyms.get(name) ?? [name],
    names:
      driver === undefined
        ? undefined
        : ['driver', ...synonyms.keys(), ...Object.keys(section.options), ...Object.keys(driver.options)],
    checkStatus: driver !== undefined && !isRefused(driver),
  };
}

function warnBeforeDriver(
  section: SectionSpec,
  instance: RawInstance,
  driver: Setting,
  report: Report,
): void {
  for (const setting of instance.settings) {
    if (setting === driver) return;
    if (Object.hasOwn(section.options, setting.name) || aliases[section.kind].has(setting.name)) continue;
    report.warning(setting.position, `Exim takes "${setting.name}" only after "driver"`);
  }
}

/** The options of one instance as `-bP` shows them: the generic ones, then the driver's own. */
export function instanceTables(section: SectionSpec, driver: string): readonly [OptionTable, OptionTable] {
  return [{ ...section.options, driver: driverOption }, section.drivers.get(driver)?.options ?? {}];
}
