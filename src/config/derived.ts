/** Options whose default follows from others, as `exim -bP` prints them. */
import type { GivenOptions } from './model.ts';
import type { AnyValue } from './options/table.ts';
import type { SectionKind } from './options/tables.ts';

/** What a router must have for its retries to be kept by address (Exim manual, "retry_use_local_part"). */
const byAddress = [
  'check_local_user',
  'condition',
  'local_parts',
  'local_part_prefix',
  'local_part_suffix',
  'require_files',
  'senders',
];

const fromLine = 'From ${if def:return_path{$return_path}{MAILER-DAEMON}} ${tod_bsdinbox}\n';

/** Values of options that the file does not set, where they are not those of the table. */
export function derivedOptions(
  kind: SectionKind,
  driver: string,
  given: GivenOptions,
): ReadonlyMap<string, AnyValue> {
  const has = (name: string): boolean => {
    const value = given.get(name)?.value;
    return value !== undefined && value !== false && value !== '';
  };
  if (kind === 'router')
    return new Map([
      ['log_as_local', driver === 'accept'],
      ['retry_use_local_part', byAddress.some(has)],
    ]);
  if (kind !== 'transport') return new Map();
  const derived = new Map<string, AnyValue>([['retry_use_local_part', driver !== 'smtp']]);
  const set = (values: Readonly<Record<string, AnyValue>>): void => {
    for (const [name, value] of Object.entries(values)) derived.set(name, value);
  };
  if (driver === 'smtp') {
    const protocol = given.get('protocol')?.value;
    set({ port: typeof protocol === 'string' ? protocol : 'smtp' });
  } else if (driver === 'pipe' || driver === 'appendfile') {
    if (has('use_bsmtp')) set({ check_string: '.', escape_string: '..' });
    else if (!has('directory')) {
      set({ message_prefix: fromLine, message_suffix: '\n' });
      if (driver === 'appendfile') set({ check_string: 'From ', escape_string: '>From ' });
    }
    if (has('mbx_format')) set({ use_lockfile: false, use_mbx_lock: true });
  }
  return derived;
}

/** The names of this machine (Exim manual, "primary_hostname", "qualify_domain", "qualify_recipient"). */
export function derivedMain(given: GivenOptions, hostname: string): ReadonlyMap<string, AnyValue> {
  const of = (name: string, otherwise: AnyValue): AnyValue => given.get(name)?.value ?? otherwise;
  const primary = of('primary_hostname', hostname);
  const domain = of('qualify_domain', primary);
  return new Map([
    ['primary_hostname', primary],
    ['qualify_domain', domain],
    ['qualify_recipient', of('qualify_recipient', domain)],
  ]);
}
