import { routerSection, transportSection, workingDrivers } from '../config/options/tables.ts';
import { version } from './version.ts';

/** `-bV`, in Exim's form: the lines that administrators and scripts look at (Exim manual, "-bV"). */
export function versionText(): string {
  return [
    `Mailchute version ${version}, for configurations of Exim version 4.96`,
    'Support for: IPv6',
    'Lookups (built-in): lsearch wildlsearch nwildlsearch iplsearch dsearch json passwd',
    'Authenticators:',
    `Routers: ${workingDrivers(routerSection).join(' ')}`,
    `Transports: ${workingDrivers(transportSection).join(' ')}`,
  ].join('\n');
}
