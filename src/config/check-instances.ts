/** Checks of routers, transports and stores that go beyond one option. */
import { checkDirectory, checkUnused, checkUsersOfStore } from './check-directories.ts';
import { checkStore } from './check-stores.ts';
import { splitList } from '../mail/list-text.ts';
import type { SourceText } from '../mail/diagnostic.ts';
import { parseSet, setItems } from '../mail/set-items.ts';
import type { Checked, CheckedInstance } from './checked.ts';
import type { GivenOptions } from './model.ts';
import type { OptionTable } from './options/table.ts';
import {
  authenticatorSection,
  directorySection,
  routerSection,
  type SectionSpec,
  storeSection,
  transportSection,
} from './options/tables.ts';
import type { Report } from './report.ts';
import { didYouMean } from '../mail/suggest.ts';

type CheckLists = (given: GivenOptions, table: OptionTable) => void;

export interface InstanceNames {
  readonly routers: readonly string[];
  readonly transports: readonly string[];
  readonly directories: readonly string[];
}

export function checkInstances(
  model: Checked,
  names: InstanceNames,
  lists: CheckLists,
  report: Report,
): void {
  const each = (
    section: SectionSpec,
    instances: readonly CheckedInstance[],
    check: (i: CheckedInstance) => void,
  ): void => {
    for (const instance of instances) {
      lists(instance.given, section.options);
      lists(instance.given, section.drivers.get(instance.driver)?.options ?? {});
      check(instance);
    }
  };
  each(routerSection, model.routers, (router) => checkRouter(router, names, report));
  each(transportSection, model.transports, (transport) => checkTransport(transport, report));
  each(authenticatorSection, model.authenticators, ({ name, driver, given, position }) => {
    // The others are called what the instance is called.
    const needsName = driver === 'cram_md5';
    if (needsName && (given.get('public_name')?.value ?? '') === '')
      report.error(position, `no public name specified for the ${name} authenticator`);
  });
  each(storeSection, model.stores, (store) => {
    checkStore(store, report);
    checkUsersOfStore(store, model.directories, names.directories, report);
  });
  each(directorySection, model.directories, (directory) => checkDirectory(directory, report));
  checkUnused(model.directories, model.stores, report);
}

function textOf(instance: CheckedInstance, option: string): SourceText | undefined {
  return instance.given.get(option)?.sources[0];
}

function checkRouter(router: CheckedInstance, names: InstanceNames, report: Report): void {
  const { name, driver, given, position } = router;
  const transport = textOf(router, 'transport');
  if (transport === undefined) {
    if (driver === 'accept' && given.get('verify_only')?.value !== true)
      report.error(position, `${name} router: a transport is required for this router`);
  } else if (!transport.text.includes('$') && !names.transports.includes(transport.text)) {
    report.error(
      transport.position,
      `transport "${transport.text}" of ${name} router is not defined`,
      didYouMean(transport.text, names.transports),
    );
  }
  const pass = textOf(router, 'pass_router');
  if (pass !== undefined) checkPassRouter(router, pass, names.routers, report);
  const self = textOf(router, 'self');
  if (self !== undefined && !/^(?:freeze|defer|send|pass|fail|reroute:.*)$/s.test(self.text))
    report.error(
      self.position,
      `${self.text} is not valid for the self option`,
      'freeze, defer, send, pass, fail or reroute: DOMAIN',
    );
  if (self !== undefined && /^reroute:\s*rewrite:/.test(self.text))
    report.error(
      self.position,
      'option "self" is not supported with this value: header lines are not rewritten',
    );
  if (driver === 'manualroute' && given.has('route_list') === given.has('route_data'))
    report.error(
      given.get('route_data')?.position ?? position,
      `${name} router: route_list or route_data (but not both) must be specified`,
    );
  if (driver === 'dnslookup' && transport === undefined && given.get('verify_only')?.value !== true)
    report.error(position, `${name} router: a transport is required for this router`);
  if (driver !== 'dnslookup')
    for (const option of ['dnssec_require_domains', 'dnssec_request_domains'])
      if (given.has(option) && given.get(option)?.value !== '*')
        report.error(
          given.get(option)?.position ?? position,
          `${name} router: ${option} is supported for dnslookup routers only`,
        );
  const next = textOf(router, 'redirect_router');
  if (next !== undefined && !names.routers.includes(next.text))
    report.error(
      next.position,
      `new_router "${next.text}" not found for "${name}" router`,
      didYouMean(next.text, names.routers),
    );
  for (const text of given.get('set')?.sources ?? [])
    for (const item of setItems(text.text))
      if (parseSet(item) === undefined)
        report.error(text.position, `bad format for "set" in ${name} router: "${item}"`, 'r_NAME = VALUE');
  if (driver === 'redirect') checkRedirect(router, report);
}

function checkRedirect({ name, given, position }: CheckedInstance, report: Report): void {
  const on = (option: string): boolean => given.get(option)?.value === true;
  const wrong = (option: string, text: string): void =>
    report.error(given.get(option)?.position ?? position, `${name} router: ${text}`);
  if (given.has('data') === given.has('file'))
    wrong('file', 'either "file" or "data" (but not both) must be given');
  if (on('qualify_preserve_domain') && given.has('qualify_domain'))
    wrong('qualify_domain', 'only one of "qualify_domain" and "qualify_preserve_domain" must be set');
  if (on('allow_filter') && !on('check_local_user') && !given.has('user'))
    wrong('allow_filter', '"user" or "check_local_user" must be set with "allow_filter"');
  if (!on('one_time')) return;
  if (given.has('unseen') && given.get('unseen')?.value !== false)
    wrong('unseen', '"unseen" may not be used with "one_time"');
  for (const option of ['headers_add', 'headers_remove'])
    if (given.has(option)) wrong(option, `"${option}" may not be used with "one_time"`);
}

/** The router named must stand further down (Exim manual, "pass_router"). */
function checkPassRouter(
  router: CheckedInstance,
  pass: SourceText,
  routers: readonly string[],
  report: Report,
): void {
  const at = routers.indexOf(pass.text);
  if (at < 0) {
    report.error(
      pass.position,
      `new_router "${pass.text}" not found for "${router.name}" router`,
      didYouMean(pass.text, routers),
    );
  } else if (at <= routers.indexOf(router.name)) {
    report.error(pass.position, `new_router "${pass.text}" does not follow "${router.name}" router`);
  }
}

function checkTransport(transport: CheckedInstance, report: Report): void {
  const { name, driver, given, position } = transport;
  const wrong = (option: string, message: string, hint?: string): void =>
    report.error(given.get(option)?.position ?? position, message, hint);
  const isOn = (option: string): boolean => given.get(option)?.value === true;
  const isOff = (option: string): boolean => given.get(option)?.value === false;
  if (driver !== 'smtp' && driver !== 'lmtp' && given.has('transport_filter'))
    wrong('transport_filter', `option "transport_filter" is not supported for the ${driver} transport`);
  if (driver === 'lmtp' && given.has('socket') === given.has('command'))
    wrong('command', `one (and only one) of command or socket must be set for the ${name} transport`);
  for (const option of ['hosts_require_auth', 'hosts_try_auth']) {
    const asked = given.get(option);
    if (driver === 'smtp' && asked !== undefined && asked.value !== '')
      report.warning(
        asked.position,
        `SMTP authentication is not implemented yet: mail for hosts that match ${option} waits in the queue`,
      );
  }
  if (driver === 'lmtp' || driver === 'smtp')
    for (const option of ['user', 'group', 'initgroups', 'home_directory', 'current_directory']) {
      const place = given.get(option)?.position;
      if (place === undefined) continue;
      if (driver === 'lmtp' && given.has('command'))
        report.error(
          place,
          `option "${option}" is not supported with "command": it runs as the user of Mailchute`,
        );
      else if (!given.has('transport_filter') || option.endsWith('directory'))
        report.note(place, `option "${option}" has no effect: Mailchute connects as the user who starts it`);
    }
  if (isOn('body_only') && isOn('headers_only'))
    wrong('headers_only', `${name} transport: body_only and headers_only are mutually exclusive`);
  if (driver === 'appendfile') {
    if (given.has('file') && given.has('directory'))
      wrong('directory', `only one of "file" or "directory" can be specified for the ${name} transport`);
    if (given.has('directory') && !isOn('maildir_format'))
      wrong(
        'directory',
        `${name} transport: option "directory" is not supported without maildir_format`,
        'set maildir_format, or file',
      );
    if (isOff('use_lockfile') && isOff('use_fcntl_lock') && !isOn('use_flock_lock'))
      wrong('use_lockfile', `no locking configured for ${name} transport`);
    const create = textOf(transport, 'create_file');
    if (create !== undefined && !/^(?:anywhere|belowhome|inhome|\/.*)$/s.test(create.text))
      report.error(
        create.position,
        `invalid value given for "create_file" for the ${name} transport: '${create.text}'`,
      );
  }
  if (driver === 'pipe') {
    if (isOn('return_output') && isOn('return_fail_output'))
      wrong('return_fail_output', `both return_output and return_fail_output set for ${name} transport`);
    if (isOn('log_output') && isOn('log_fail_output'))
      wrong('log_fail_output', `both log_output and log_fail_output set for the ${name} transport`);
    if (isOn('use_shell') && (isOn('restrict_to_path') || given.has('allow_commands')))
      wrong('use_shell', `both allow_commands (or restrict_to_path) and use_shell set for ${name} transport`);
    if (isOn('initgroups'))
      wrong(
        'initgroups',
        `option "initgroups" is not supported for the pipe transport`,
        'commands run without supplementary groups',
      );
    for (const code of splitList(textOf(transport, 'temp_errors')?.text ?? ''))
      if (code !== '*' && !/^\d+$/.test(code))
        wrong(
          'temp_errors',
          `temp_errors must be a list of numbers or an asterisk for the ${name} transport`,
        );
  }
}
