/** Parts of a configuration as `exim -bP` prints them (Exim manual, "-bP"). Lines have no line ends. */
import { instanceTables } from './drivers.ts';
import type { ConfigModel, GivenOptions } from './model.ts';
import {
  aliases,
  mainOptions,
  routerSection,
  type SectionSpec,
  storeSection,
  transportSection,
} from './options/tables.ts';
import { listWords } from './named-list.ts';
import { formatOption, formatOptions } from './print.ts';

/** All main options: `-bP`. */
export function printMain(model: ConfigModel): string[] {
  return formatOptions(mainOptions, model.mainGiven);
}

/** One main option: `-bP name`; undefined where there is none of that name. */
export function printMainOption(model: ConfigModel, name: string): string | undefined {
  const option = aliases.main.get(name)?.[0] ?? name;
  if (!isMainOption(option)) return undefined;
  return formatOption(option, mainOptions[option], model.mainGiven);
}

/** Named lists of this name, of whatever kind: `-bP +name`. Empty where there is none. */
export function printNamedLists(model: ConfigModel, name: string): string[] {
  return [...listWords].flatMap(([word, kind]) => {
    const list = model.lists[kind].get(name);
    return list === undefined ? [] : [`${word} ${name} = ${list.text.text}`];
  });
}

export type PrintedSection = 'routers' | 'transports' | 'stores';

const sections: Readonly<Record<PrintedSection, SectionSpec>> = {
  routers: routerSection,
  transports: transportSection,
  stores: storeSection,
};

/** The options of one instance: `-bP router NAME`; undefined where there is none of that name. */
export function printInstance(
  model: ConfigModel,
  section: PrintedSection,
  name: string,
): string[] | undefined {
  for (const instance of model[section])
    if (instance.name === name) return optionLines(sections[section], instance);
  return undefined;
}

/** All instances, each under a blank line and its name: `-bP routers`. */
export function printInstances(model: ConfigModel, section: PrintedSection): string[] {
  const spec = sections[section];
  const lines: string[] = [];
  for (const instance of model[section])
    lines.push('', `${instance.name} ${spec.kind}:`, ...optionLines(spec, instance));
  return lines;
}

function optionLines(
  section: SectionSpec,
  instance: { readonly driver: string; readonly given: GivenOptions },
): string[] {
  return instanceTables(section, instance.driver).flatMap((table) => formatOptions(table, instance.given));
}

function isMainOption(name: string): name is keyof typeof mainOptions {
  return Object.hasOwn(mainOptions, name);
}
