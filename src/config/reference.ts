/** What is supported, from the option tables: the data of docs/exim-compatibility.md. */
import { ignoredReasons, refusedReasons } from './options/reasons.ts';
import type { OptionSpec, OptionTable } from './options/table.ts';
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

export interface OptionRow {
  /** `main`, `routers`, `transports`, `authenticators`, `stores`, `directories`, or a driver: `router manualroute`. */
  readonly section: string;
  readonly name: string;
  /** The type in words, with `expanded` where the value is expanded and `at start` where it is so only once. */
  readonly type: string;
  /** As written in a file; undefined for unset. */
  readonly default: string | undefined;
  readonly status: 'works' | 'ignored' | 'only some values' | 'refused';
  /** Why it is refused or ignored, or which values are accepted. */
  readonly note?: string;
}

const allSections: readonly SectionSpec[] = [
  routerSection,
  transportSection,
  authenticatorSection,
  storeSection,
  directorySection,
];

/** Every option, in the order of the sections and then of the alphabet. */
export function listOptions(): OptionRow[] {
  return [...rows('main', mainOptions), ...allSections.flatMap(sectionRows)];
}

export interface DriverRow {
  readonly section: SectionKind;
  readonly name: string;
  /** Why it is refused; absent where it is not. */
  readonly refused?: string;
  /** Why it does nothing, where it may be configured all the same. */
  readonly ignored?: string;
}

export function listDrivers(): DriverRow[] {
  return allSections.flatMap(({ kind, drivers }) =>
    [...drivers].map(([name, { status }]): DriverRow => {
      if (status === 'works') return { section: kind, name };
      return 'refused' in status
        ? { section: kind, name, refused: refusedReasons[status.refused] }
        : { section: kind, name, ignored: ignoredReasons[status.ignored] };
    }),
  );
}

function sectionRows(section: SectionSpec): OptionRow[] {
  return [
    ...rows(section.name, section.options),
    ...[...section.drivers].flatMap(([name, driver]) => rows(`${section.kind} ${name}`, driver.options)),
  ];
}

function rows(section: string, table: OptionTable): OptionRow[] {
  const all: OptionRow[] = [];
  for (const [name, spec] of Object.entries(table)) {
    const when = spec.atStart === true ? ' at start' : '';
    const type = spec.expand === true ? `${spec.type}, expanded${when}` : spec.type;
    const value = typeof spec.default === 'boolean' ? String(spec.default) : spec.default;
    all.push({ section, name, type, default: value, ...standing(spec) });
  }
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function standing({ status }: OptionSpec): Pick<OptionRow, 'status' | 'note'> {
  if (status === 'works') return { status };
  if ('ignored' in status) return { status: 'ignored', note: ignoredReasons[status.ignored] };
  const reason = refusedReasons[status.refused];
  if (!('only' in status)) return { status: 'refused', note: reason };
  const values = status.only.map((v) => (v === '' ? 'empty' : `\`${v}\``)).join(', ');
  return { status: 'only some values', note: `${values}: ${reason}` };
}

/** Other names of options: `return_size_limit` and the like, each with what it stands for. */
export function listAliases(): readonly { readonly name: string; readonly means: readonly string[] }[] {
  return Object.values(aliases).flatMap((map) => [...map].map(([name, means]) => ({ name, means })));
}
