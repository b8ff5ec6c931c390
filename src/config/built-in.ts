/**
 * Built-in macros (Exim manual, "Builtin macros"): what works here, so that `.ifdef` chooses the part of a configuration
 * that fits. Options and drivers that are refused have none.
 */
import { itemTable, refusedItems } from '../expand/items/table.ts';
import { listLookupTypes } from '../expand/lookup-type.ts';
import { logSelectorNames } from './log-selector.ts';
import type { OptionTable } from './options/table.ts';
import {
  authenticatorSection,
  directorySection,
  mainOptions,
  routerSection,
  type SectionSpec,
  storeSection,
  transportSection,
  workingDrivers,
} from './options/tables.ts';

/** Facilities that are here whatever the tables say. `_HAVE_MAILCHUTE` is ours, for files that serve both programs. */
const facilities = ['_HAVE_ICONV', '_HAVE_IPV6', '_HAVE_MAILCHUTE'];

/** Lookup types that Exim has such a macro for; the others come with one of them. */
const lookupMacros: ReadonlySet<string> = new Set(
  'cdb dbm dnsdb dsearch json ldap lmdb lsearch mysql nis oracle passwd pgsql redis sqlite'.split(' '),
);

/** Names of all built-in macros; each stands for `y`. */
export function builtInMacros(): string[] {
  const items = [...itemTable.keys()].filter((name) => refusedItems[name] === undefined);
  const lookups = listLookupTypes().filter((t) => t.available && lookupMacros.has(t.name));
  return [
    ...facilities,
    ...lookups.map(({ name }) => `_HAVE_LOOKUP_${name.toUpperCase()}`),
    ...(items.includes('srs_encode') ? ['_HAVE_SRS', '_HAVE_NATIVE_SRS'] : []),
    ...appendForms(),
    ...['all', 'rejected_headers', ...logSelectorNames].map((name) => `_LOG_${name.toUpperCase()}`),
    ...usable(mainOptions).map((name) => `_OPT_MAIN_${name}`),
    ...[routerSection, transportSection, authenticatorSection, storeSection, directorySection].flatMap(
      ofSection,
    ),
  ];
}

/** The ways in which appendfile can write, by the options that choose them. */
function appendForms(): string[] {
  const appendfile = transportSection.drivers.get('appendfile');
  if (appendfile?.status !== 'works') return [];
  const has = new Set(usable(appendfile.options));
  return ['MAILDIR', 'MAILSTORE', 'MBX']
    .filter((form) => has.has(`${form}_FORMAT`))
    .map((form) => `_HAVE_TRANSPORT_APPEND_${form}`);
}

function ofSection(section: SectionSpec): string[] {
  const kind = section.kind.toUpperCase();
  const names = usable(section.options).map((name) => `_OPT_${section.name.toUpperCase()}_${name}`);
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
