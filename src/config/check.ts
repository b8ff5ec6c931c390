/** Checks that need the whole configuration: names that lead nowhere, options that exclude each other. */
import type { MatchKind } from '../expand/scope.ts';
import { isSyntaxError, parseAddress } from '../mail/address.ts';
import type { SourcePosition, SourceText } from '../mail/diagnostic.ts';
import { checkInstances, type InstanceNames } from './check-instances.ts';
import { checkAclLists, checkListNames, type ListNames } from './check-lists.ts';
import { checkLogSelector } from './log-selector.ts';
import type { Checked } from './checked.ts';
import type { GivenOptions } from './model.ts';
import type { OptionTable } from './options/table.ts';
import { mainOptions } from './options/tables.ts';
import type { Report } from './report.ts';
import { parseSlowDown } from './slow-down.ts';
import { didYouMean } from '../mail/suggest.ts';

/**
 * @param names of all routers, transports and directories that the file has, those left out for their errors included, so that one
 *   error does not cause others
 */
export function checkModel(model: Checked, names: InstanceNames, report: Report): void {
  checkAclNames(model, report);
  const selector = model.mainGiven.get('log_selector')?.sources[0];
  if (selector !== undefined) checkLogSelector(selector, report);
  if (model.mainGiven.get('spool_directory')?.value === '')
    report.error(place(model, 'spool_directory'), 'spool_directory undefined: cannot proceed');
  const logPath = model.mainGiven.get('log_file_path')?.sources[0];
  if (logPath !== undefined) checkLogPath(logPath, report);

  const told = model.mainGiven.get('freeze_tell')?.sources[0];
  if (told !== undefined) checkMailboxes(told, report);

  for (const option of ['smtp_ratelimit_mail', 'smtp_ratelimit_rcpt']) {
    const limit = model.mainGiven.get(option)?.sources[0];
    if (limit !== undefined && parseSlowDown(limit.text) === undefined)
      report.error(
        limit.position,
        `malformed ${option} "${limit.text}"`,
        'THRESHOLD,DELAY,FACTOR,LONGEST such as 4,0.25s,1.015,4m',
      );
  }

  const lists: ListNames = model.lists;
  for (const kind of Object.keys(model.lists)) {
    for (const list of model.lists[kind as MatchKind].values())
      checkListNames(list.kind, list.text, lists, report);
  }
  checkListOptions(model.mainGiven, mainOptions, lists, report);
  for (const acl of model.acls.values()) for (const line of acl.lines) checkAclLists(line, lists, report);
  checkInstances(model, names, (given, table) => checkListOptions(given, table, lists, report), report);
}

function place(model: Checked, option: string): SourcePosition {
  return model.mainGiven.get(option)?.position ?? { file: model.file, line: 1, column: 1 };
}

/** Addresses parted by commas, each with or without a domain. */
function checkMailboxes({ text, position }: SourceText, report: Report): void {
  for (const item of text.split(',').map((i) => i.trim())) {
    const address = item === '' ? undefined : parseAddress(item.includes('@') ? item : `${item}@x.invalid`);
    if (address !== undefined && isSyntaxError(address))
      report.error(position, `malformed address "${item}"`, address.text);
  }
}

/** One path, or nothing for the default (Exim manual, "Where the logs are written"); what is expanded is seen at start-up. */
function checkLogPath({ text, position }: SourceText, report: Report): void {
  const items = text.split(':').map((item) => item.trim());
  const [file, another] = items.filter((item) => item !== '');
  const wrong = (what: string): void => report.error(position, `log_file_path "${text}" ${what}`);
  if (items.includes('syslog')) wrong('asks for syslog, which is not supported: logs go to files');
  else if (file === undefined || text.includes('$')) return;
  else if (another !== undefined) wrong('has more than one path');
  else if (!file.startsWith('/')) wrong('is not an absolute path');
  else if (!file.includes('%s')) wrong('does not contain "%s"');
}

/** A verb alone is an ACL that is written in place. */
const aclVerbs = new Set(['accept', 'defer', 'deny', 'discard', 'drop', 'require', 'warn']);

/** Options whose value is the name of an ACL, where it is no expansion and no ACL written in place. */
function checkAclNames(model: Checked, report: Report): void {
  for (const [option, { sources }] of model.mainGiven) {
    const source = sources[0];
    if (!option.startsWith('acl_') || source === undefined || !/^\w+$/.test(source.text)) continue;
    if (aclVerbs.has(source.text)) continue;
    if (!model.acls.has(source.text))
      report.error(
        source.position,
        `ACL "${source.text}" of ${option} is not defined`,
        didYouMean(source.text, model.acls.keys()),
      );
  }
}

const listKinds: ReadonlyMap<string, MatchKind> = new Map([
  ['domains', 'domain'],
  ['local_parts', 'local_part'],
  ['senders', 'address'],
  ['ignore_target_hosts', 'host'],
]);

function checkListOptions(given: GivenOptions, table: OptionTable, lists: ListNames, report: Report): void {
  for (const [option, { sources }] of given) {
    if (!Object.hasOwn(table, option)) continue;
    const kind =
      listKinds.get(option) ??
      (/(?:^|_)hosts(?:_|$)/.test(option) && option !== 'fallback_hosts' && option !== 'hosts'
        ? 'host'
        : undefined);
    if (kind === undefined || table[option]?.type !== 'list') continue;
    for (const source of sources) checkListNames(kind, source, lists, report);
  }
}
