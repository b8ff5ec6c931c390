/** Checks of directories, and of what a store says about its users, as far as the file alone shows it. */
import type { SourceText } from '../mail/diagnostic.ts';
import { splitList } from '../mail/list-text.ts';
import { checkPositive } from './check-stores.ts';
import type { CheckedInstance } from './checked.ts';
import type { Report } from './report.ts';
import { didYouMean } from '../mail/suggest.ts';

/** What each driver cannot do without. */
const needed: Readonly<Record<string, readonly string[]>> = {
  ldap: ['servers', 'base', 'filter'],
  passwd_file: ['file'],
  sql: ['engine', 'connect', 'query'],
  static: ['directory'],
};

export function checkDirectory(directory: CheckedInstance, report: Report): void {
  const { name, driver, given, position } = directory;
  for (const option of needed[driver] ?? [])
    if ((given.get(option)?.sources[0]?.text ?? '') === '')
      report.error(position, `${name} directory: ${option} must be set`);
  const absolute = (option: string, items: readonly string[]): void => {
    for (const item of items)
      if (!item.startsWith('/') && !item.startsWith('$'))
        report.error(
          given.get(option)?.sources[0]?.position ?? position,
          `${name} directory: ${option} "${item}" is not an absolute path`,
        );
  };
  for (const option of ['directory', 'home', 'maildir', 'ca_file'])
    absolute(
      option,
      textsOf(directory, option).map(({ text }) => text),
    );
  absolute('file', itemsOf(directory, 'file'));
  const connect = itemsOf(directory, 'connect');
  if (driver === 'sql' && given.get('engine')?.value === 'sqlite') {
    absolute('connect', connect);
    if (connect.length > 1)
      report.error(given.get('connect')?.position ?? position, `${name} directory: sqlite has one file`);
  }
  checkPositive(directory, 'directory', ['query_timeout', 'pool_size'], report);
  const bound = given.has('bind_dn') === given.has('bind_password');
  if (!bound)
    report.error(
      (given.get('bind_dn') ?? given.get('bind_password'))?.position ?? position,
      `${name} directory: bind_dn and bind_password must be set together`,
    );
  for (const option of ['bind_password', 'connect']) {
    const secret = given.get(option);
    if (secret === undefined || secret.hidden) continue;
    if (
      option === 'bind_password' ||
      connect.some((item) => /\/[^/]*\/[^/]*\/[^/]+$/.test(item) && !item.startsWith('/'))
    )
      report.warning(
        secret.position,
        `the password in ${option} is shown to everybody who may ask for the configuration`,
        `write "hide ${option} = ..."`,
      );
  }
}

/** Tells of directories that no store asks. */
export function checkUnused(
  directories: readonly CheckedInstance[],
  stores: readonly CheckedInstance[],
  report: Report,
): void {
  const asked = new Set(stores.flatMap((store) => itemsOf(store, 'directories')));
  for (const { name, position } of directories)
    if (!asked.has(name)) report.note(position, `no store asks ${name} directory`);
}

/**
 * @param names of all directories of the file, those left out for their errors included
 */
export function checkUsersOfStore(
  store: CheckedInstance,
  directories: readonly CheckedInstance[],
  names: readonly string[],
  report: Report,
): void {
  const { name, given, position } = store;
  const asked = itemsOf(store, 'directories');
  const place = given.get('directories')?.sources[0]?.position ?? position;
  if (asked.length === 0)
    report.error(
      position,
      `${name} store: directories must be set`,
      'it names instances of "begin directories", which say who has a mailbox',
    );
  for (const item of asked)
    if (!names.includes(item))
      report.error(
        place,
        `directory "${item}" of ${name} store is not defined`,
        names.length === 0 ? 'there is no "begin directories"' : didYouMean(item, names),
      );
  if (given.get('smtputf8')?.value === true)
    for (const directory of directories)
      if (asked.includes(directory.name) && !directory.given.has('username_chars'))
        report.warning(
          given.get('smtputf8')?.position ?? position,
          `${name} store: smtputf8 brings names beyond ASCII, which username_chars of ${directory.name} directory does not have`,
          'write "username_chars =" there to allow all but control characters',
        );
  if (store.driver !== 'maildir' || given.has('maildir')) return;
  for (const directory of directories) {
    if (!asked.includes(directory.name) || directory.given.has('maildir')) continue;
    if (directory.driver === 'static')
      report.error(position, `${name} store: maildir must be set here or in ${directory.name} directory`);
    else
      report.warning(
        position,
        `${name} store: mail waits for users of whom ${directory.name} directory does not say where it goes`,
        'set maildir here or there',
      );
  }
}

function textsOf({ given }: CheckedInstance, option: string): readonly SourceText[] {
  return given.get(option)?.sources ?? [];
}

function itemsOf(instance: CheckedInstance, option: string): readonly string[] {
  return textsOf(instance, option).flatMap(({ text }) => splitList(text));
}
