/** `-bV`. */
import { builtInMacros } from '../config/built-in.ts';
import {
  authenticatorSection,
  routerSection,
  transportSection,
  workingDrivers,
} from '../config/options/tables.ts';
import { listLookupTypes } from '../expand/lookup-type.ts';
import { version } from './version.ts';

/** What Exim calls its facilities, by the built-in macro that tells of each. */
const support = [
  ['_HAVE_ICONV', 'iconv()'],
  ['_HAVE_IPV6', 'IPv6'],
  ['_HAVE_TLS', 'TLS'],
  ['_HAVE_CONTENT_SCANNING', 'Content_Scanning'],
  ['_HAVE_DKIM', 'DKIM'],
  ['_HAVE_DNSSEC', 'DNSSEC'],
  ['_HAVE_EVENT', 'Event'],
  ['_HAVE_I18N', 'I18N'],
  ['_HAVE_PRDR', 'PRDR'],
  ['_HAVE_PROXY', 'PROXY'],
  ['_HAVE_SPF', 'SPF'],
  ['_HAVE_SRS', 'SRS'],
] as const;

/** In Exim's form: the lines that administrators and scripts look at (Exim manual, "-bV"). */
export function versionText(): string {
  const macros = new Set(builtInMacros());
  const forms = ['maildir', 'mailstore', 'mbx'].filter((form) =>
    macros.has(`_HAVE_TRANSPORT_APPEND_${form.toUpperCase()}`),
  );
  const transports = workingDrivers(transportSection).map((driver) =>
    driver === 'appendfile' ? [driver, ...forms].join('/') : driver,
  );
  const lookups = listLookupTypes().filter((t) => t.available);
  return [
    `Mailchute version ${version}, for configurations of Exim version 4.96`,
    line(
      'Support for:',
      support.flatMap(([macro, name]) => (macros.has(macro) ? [name] : [])),
    ),
    line(
      'Lookups (built-in):',
      lookups.map((t) => t.name),
    ),
    line('Authenticators:', workingDrivers(authenticatorSection)),
    line('Routers:', workingDrivers(routerSection)),
    line('Transports:', transports),
  ].join('\n');
}

function line(label: string, items: readonly string[]): string {
  return [label, ...items].join(' ');
}
