/** Checks of routers, transports and stores that go beyond one option. */
import { splitList } from '../mail/list-text.ts';
import type { SourceText } from '../mail/diagnostic.ts';
import type { Checked, CheckedInstance } from './checked.ts';
import { parseListenAddress } from './listen-address.ts';
import type { GivenOptions } from './model.ts';
import type { OptionTable } from './options/table.ts';
import { routerSection, type SectionSpec, storeSection, transportSection } from './options/tables.ts';
import type { Report } from './report.ts';
import { didYouMean } from './suggest.ts';

type CheckLists = (given: GivenOptions, table: OptionTable) => void;

export interface InstanceNames {
  readonly routers: readonly string[];
  readonly transports: readonly string[];
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
  each(storeSection, model.stores, (store) => checkStore(store, report));
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
  if (driver === 'lmtp' && given.has('socket') === given.has('command'))
    report.error(
      given.get('command')?.position ?? position,
      `one (and only one) of command or socket must be set for the ${name} transport`,
    );
}

function checkStore(store: CheckedInstance, report: Report): void {
  const { name, given, position } = store;
  for (const required of ['passwd_file', 'maildir'])
    if (!given.has(required)) report.error(position, `${name} store: ${required} must be set`);
  if (!given.has('sockets') && !given.has('listen'))
    report.error(position, `${name} store: sockets or listen must be set`);
  const listen = textOf(store, 'listen');
  for (const item of splitList(listen?.text ?? '')) {
    if (listen !== undefined && parseListenAddress(item) === undefined)
      report.error(
        listen.position,
        `malformed address and port "${item}"`,
        'write "<; 127.0.0.1:24 ; [::1]:24"',
      );
  }
}
