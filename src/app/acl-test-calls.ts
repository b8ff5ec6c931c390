/** `${acl` in tests at the command line (`-be`, `-bt`, `-bv`, `-brw`): as while mail is routed, but nothing goes to the log files. */
import { selectedLogItems } from '../config/log-selector.ts';
import type { ExpandServices } from '../expand/scope.ts';
import { logTime } from '../observe/log-time.ts';
import { withAclCalls } from './edge/acl-calls.ts';
import type { Program } from './program.ts';

/**
 * The program's services with ACLs that can be called.
 *
 * @param show gets what ACLs log, with the titles of the logs it would go to; absent: standard error, with the time
 */
export function withTestedAclCalls(
  { acls, lists, services, model }: Pick<Program, 'acls' | 'lists' | 'services' | 'model'>,
  show: (titles: string, line: string) => void = stamped,
): ExpandServices {
  const log =
    (titles: string) =>
    (line: string): void =>
      show(titles, line);
  return withAclCalls(
    services,
    { acls, lists, signal: new AbortController().signal },
    { main: log('MAIN'), reject: log('REJECT'), panic: log('MAIN PANIC') },
    selectedLogItems(model.main.log_selector ?? ''),
  );
}

function stamped(_: string, line: string): void {
  console.error(`${logTime(Date.now())} ${line}`);
}
