/**
 * Built-in macros (Exim manual, "Builtin macros"): what works here, so that `.ifdef` chooses the part of a configuration
 * that fits. Options and drivers that are refused have none.
 */
import { logSelectorNames } from './log-selector.ts';
import type { OptionTable } from './options/table.ts';
import {
  mainOptions,
  routerSection,
  type SectionSpec,
  storeSection,
  transportSection,
  workingDrivers,
} from './options/tables.ts';

/** Facilities that are here whatever the tables say. `_HAVE_MAILCHUTE` is ours, for files that serve both programs. */
const facilities = ['_HAVE_IPV6', '_HAVE_LOOKUP_LSEARCH', '_HAVE_MAILCHUTE'];

/** Names of all built-in macros; each stands for `y`. */
export function builtInMacros(): string[] {
  return [
    ...facilities,
    ...logSelectorNames.map((name) => `_LOG_${name.toUpperCase()}`),
    ...usable(mainOptions).map((name) => `_OPT_MAIN_${name}`),
    ...[routerSection, transportSection, storeSection].flatMap(ofSection),
  ];
}

function ofSection(section: SectionSpec): string[] {
  const kind = section.kind.toUpperCase();
  const names = usable(section.options).map((name) => `_OPT_${kind}S_${name}`);
  for (const driver of workingDrivers(section)) {
    const prefix = `${kind}_${driver.toUpperCase()}`;
    names.push(`_DRIVER_${prefix}`);
    for (const name of usable(section.drivers.get(driver)?.options ?? {}))
      names.push(`_OPT_${prefix}_${name}`);
  }
  return names;
}

function usable(table: OptionTable): string[] {
  return Object.entries(table)
    .filter(([, spec]) => spec.status === 'works' || 'ignored' in spec.status)
    .map(([name]) => name.toUpperCase());
}
