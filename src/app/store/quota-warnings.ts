/** Commands of `quota_warning`: run beside deliveries, few at a time, each with a deadline, without a shell. */
import { runCommand } from '../../expand/command.ts';
import { commandWords } from '../../expand/command-words.ts';
import { expandText } from '../../expand/expand.ts';
import { errorText } from '../../mail/error-text.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { QuotaWarning } from '../../store/quota/warnings.ts';
import type { Program } from '../program.ts';
import { userScope } from './quota-policy.ts';

export interface WarningCommands {
  /** Returns at once. */
  run(user: MailUser, warning: QuotaWarning): void;
  /** What is not begun is not begun any more, and that is told. */
  close(): void;
}

const maxRunning = 4;
const maxWaiting = 1000;
const maxOutputOctets = 20_000;

/** @param tell gets what went wrong, for the log */
export function warningCommands(
  program: Program,
  timeoutMs: number,
  tell: (text: string) => void,
): WarningCommands {
  const waiting: { readonly user: MailUser; readonly warning: QuotaWarning }[] = [];
  let running = 0;
  let closed = false;

  function begin(): void {
    const next = running < maxRunning ? waiting.shift() : undefined;
    if (next === undefined) return;
    running++;
    runOne(next.user, next.warning, program, timeoutMs)
      .catch((error: unknown) => errorText(error))
      .then((problem) => {
        if (problem !== undefined) tell(`quota warning for ${next.user.username}: ${problem}`);
      })
      .finally(() => {
        running--;
        begin();
      })
      .catch(() => undefined);
    begin();
  }

  return {
    run(user, warning) {
      if (closed || waiting.length >= maxWaiting) {
        tell(
          `quota warning for ${user.username}: not run, ${closed ? 'the store is closing' : 'too many wait'}`,
        );
        return;
      }
      waiting.push({ user, warning });
      begin();
    },
    close() {
      closed = true;
      for (const { user } of waiting.splice(0))
        tell(`quota warning for ${user.username}: not run, the store is closing`);
    },
  };
}

/** Gives what went wrong. The command's own words are untainted, or it is not run. */
async function runOne(
  user: MailUser,
  { command }: QuotaWarning,
  program: Program,
  timeoutMs: number,
): Promise<string | undefined> {
  const scope = userScope(user, program);
  const words: string[] = [];
  for (const word of commandWords(command)) {
    const result = await expandText(word, scope);
    if (result.kind !== 'ok')
      return `"${word}": ${result.kind === 'forced-fail' ? 'forced failure' : result.reason}`;
    if (result.tainted)
      return `"${word}" uses what came from the wire: use $local_part_data and $domain_data`;
    words.push(result.text);
  }
  if (words[0]?.startsWith('/') !== true) return `"${words[0] ?? ''}" is not an absolute path`;
  const environment = program.main.environment ?? {};
  const ended = await runCommand(words, { cwd: '/', environment }, { timeoutMs, maxOctets: maxOutputOctets });
  switch (ended.kind) {
    case 'exited':
      return ended.code === 0
        ? undefined
        : `${words[0]} ended with ${ended.code}: ${ended.output.trim().slice(0, 200)}`;
    case 'killed':
      return `${words[0]} was killed by signal ${ended.signal}`;
    case 'error':
      return `${words[0]}: ${ended.reason}`;
  }
}
