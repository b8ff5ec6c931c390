// Where `-bP` is meant to print something else than Exim 4.96 as Debian builds it, with the reason.

const build = 'where Exim was built to put its files';
const users = 'Mailchute does not change its user; the option is read and printed as the file has it';

/** Main options whose default differs. */
export const defaultDifferences: ReadonlyMap<string, string> = new Map([
  ['spool_directory', build],
  ['log_file_path', build],
  ['pid_file_path', build],
  ['process_log_path', 'there is no process log'],
  ['exim_user', users],
  ['exim_group', users],
  ['exim_path', 'Mailchute does not call itself'],
  ['exim_version', 'the version of Exim is not claimed'],
  ['redis_servers', 'Debian builds Exim without Redis'],
  ['smtp_banner', 'a banner says what program answers'],
]);

/** Options of drivers whose default differs: `section driver name`. */
export const driverDifferences: ReadonlyMap<string, string> = new Map([
  [
    'router queryprogram command_group',
    'Exim prints the group of command_user; the table has what the option itself is set to',
  ],
]);

/** Requests with another answer, whatever the configuration. */
export const requestDifferences: ReadonlyMap<string, string> = new Map([
  [
    '+hidden',
    'Exim hides a list after `hide` from everybody; here an admin user sees it, as the manual says',
  ],
  [
    'nonsense smtp_banner',
    'Exim ends with the exit code of the last word; here any word that is not known makes it 1',
  ],
  ['macros', 'each program has the built-in macros of what it can do'],
  ['macro_list', 'each program has the built-in macros of what it can do'],
]);
