/** Parts of a configuration as `exim -bP` prints them (Exim manual, "-bP"). Lines have no line ends. */
import { derivedMain, derivedOptions } from './derived.ts';
import { instanceTables } from './drivers.ts';
import type { ConfigModel, GivenOptions } from './model.ts';
import {
  aliases,
  authenticatorSection,
  directorySection,
  mainOptions,
  routerSection,
  type SectionKind,
  type SectionSpec,
  storeSection,
  transportSection,
} from './options/tables.ts';
import { formatOption, formatOptions, type PrintStyle } from './print.ts';

/** Who asks, and how the answer should look. */
export interface PrintFor {
  /** May see what `hide` hides. */
  readonly admin: boolean;
  /** `-n`. */
  readonly withoutNames: boolean;
  /** This machine's name, where `primary_hostname` is not set. */
  readonly hostname: string;
}

export const notDisplayable = '<value not displayable>';

/** All main options: `-bP`. */
export function printMain(model: ConfigModel, ask: PrintFor): string[] {
  return formatOptions(mainOptions, model.mainGiven, mainStyle(model, ask));
}

/** One main option: `-bP name`; undefined where there is none of that name. */
export function printMainOption(model: ConfigModel, name: string, ask: PrintFor): string | undefined {
  const option = aliases.main.get(name)?.[0] ?? name;
  if (!isMainOption(option)) return undefined;
  return formatOption(option, mainOptions[option], model.mainGiven, mainStyle(model, ask));
}

function mainStyle(model: ConfigModel, ask: PrintFor): PrintStyle {
  return {
    withoutNames: ask.withoutNames,
    derived: derivedMain(model.mainGiven, ask.hostname),
    hidden: hiddenOf([model.mainGiven], ask),
  };
}

const listWords = [
  ['address', 'addresslist'],
  ['domain', 'domainlist'],
  ['host', 'hostlist'],
  ['local_part', 'localpartlist'],
] as const;

/** Named lists of this name, of whatever kind: `-bP +name`. Empty where there is none. */
export function printNamedLists(model: ConfigModel, name: string, ask: PrintFor): string[] {
  return listWords.flatMap(([kind, word]) => {
    const list = model.lists[kind].get(name);
    if (list === undefined) return [];
    const value = list.hidden && !ask.admin ? notDisplayable : list.text.text;
    return [ask.withoutNames ? value : `${word} ${name} = ${value}`];
  });
}

export type PrintedSection = SectionSpec['name'];

const sections: Readonly<Record<PrintedSection, SectionSpec>> = {
  routers: routerSection,
  transports: transportSection,
  authenticators: authenticatorSection,
  stores: storeSection,
  directories: directorySection,
};

/** The section of a kind of driver. */
export const sectionOf: Readonly<Record<SectionKind, PrintedSection>> = {
  router: 'routers',
  transport: 'transports',
  authenticator: 'authenticators',
  store: 'stores',
  directory: 'directories',
};

/** The options of one instance: `-bP router NAME`; undefined where there is none of that name. */
export function printInstance(
  model: ConfigModel,
  section: PrintedSection,
  name: string,
  ask: PrintFor,
): string[] | undefined {
  for (const instance of model[section])
    if (instance.name === name) return optionLines(model, section, instance, ask);
  return undefined;
}

/** All instances, each under a blank line and its name: `-bP routers`. */
export function printInstances(model: ConfigModel, section: PrintedSection, ask: PrintFor): string[] {
  const lines: string[] = [];
  for (const instance of model[section])
    lines.push(
      '',
      `${instance.name} ${sections[section].kind}:`,
      ...optionLines(model, section, instance, ask),
    );
  return lines;
}

interface Instance {
  readonly name: string;
  readonly driver: string;
  readonly given: GivenOptions;
}

function optionLines(
  model: ConfigModel,
  section: PrintedSection,
  instance: Instance,
  ask: PrintFor,
): string[] {
  const { driver } = instance;
  const spec = sections[section];
  const [generic, own] = instanceTables(spec, driver);
  const given =
    section === 'authenticators' && !instance.given.has('public_name')
      ? new Map([...instance.given, ...namedAfterInstance(instance)])
      : instance.given;
  const style: PrintStyle = {
    withoutNames: ask.withoutNames,
    derived: derivedOptions(spec.kind, driver, given),
  };
  const all: readonly Instance[] = model[section];
  // `hide` on an option hides it in all instances that share the option (Exim manual, "Common option syntax").
  const hidden = (of: readonly Instance[]): ReadonlySet<string> =>
    hiddenOf(
      of.map((i) => i.given),
      ask,
    );
  return [
    ...formatOptions(generic, given, { ...style, hidden: hidden(all) }),
    ...formatOptions(own, given, { ...style, hidden: hidden(all.filter((i) => i.driver === driver)) }),
  ];
}

/** Exim takes the name of an authenticator for its public name. */
function namedAfterInstance({ name, given }: Instance): GivenOptions {
  const position = given.get('driver')?.position ?? { file: '', line: 1, column: 1 };
  return new Map([
    ['public_name', { value: name, sources: [{ text: name, position }], position, hidden: false }],
  ]);
}

function hiddenOf(all: readonly GivenOptions[], ask: PrintFor): ReadonlySet<string> {
  if (ask.admin) return new Set();
  return new Set(all.flatMap((given) => [...given].filter(([, g]) => g.hidden).map(([name]) => name)));
}

function isMainOption(name: string): name is keyof typeof mainOptions {
  return Object.hasOwn(mainOptions, name);
}
