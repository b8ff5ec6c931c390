/** `bin/exim -brt`: which retry rule governs an address or host (Exim manual, "Choosing which retry rule to use"). */
import type { ReversePath } from '../mail/address.ts';
import { parseRetryError, type RetryError } from '../retry/error.ts';
import { formatRetryRule } from '../retry/rules.ts';
import { selectRetryRule } from '../retry/select.ts';
import type { Program } from './program.ts';

/**
 * @param words an address or domain, perhaps a second domain, perhaps an error's name
 * @param sender -f; undefined where it is not given
 */
export async function testRetry(
  { main, services, retryRules }: Pick<Program, 'main' | 'services' | 'retryRules'>,
  words: readonly string[],
  sender: ReversePath | undefined,
  problem: (text: string) => void,
): Promise<{ readonly lines: readonly string[]; readonly failed: boolean }> {
  const [subject, ...rest] = words;
  if (subject === undefined) return { lines: ['-brt needs a domain or address argument'], failed: true };
  const lines: string[] = [];
  if (!/[@.]/.test(subject))
    lines.push(
      `Warning: "${subject}" contains no '@' and no '.' characters. It is being `,
      'treated as a one-component domain, not as a local part.',
      '',
    );
  const alternate = rest[0]?.includes('.') === true ? rest.shift() : undefined;
  let error: RetryError = { kind: 'other' };
  const [name] = rest;
  if (name !== undefined) {
    const parsed = parseRetryError(name);
    if (typeof parsed === 'string') return { lines: [...lines, parsed], failed: true };
    error = happened(parsed);
  }
  const rule = await selectRetryRule(
    retryRules,
    {
      key: subject,
      ...(alternate === undefined ? {} : { alternate }),
      error,
      ...(sender === undefined ? {} : { sender }),
    },
    { main, services },
    problem,
  );
  lines.push(rule === undefined ? 'No retry information found' : `Retry rule: ${formatRetryRule(rule)}`);
  return { lines, failed: false };
}

/** Patterns of replies stand for a reply: `rcpt_4xx` for 421, `rcpt_45x` for 454. */
function happened(error: RetryError): RetryError {
  if (error.kind !== 'reply') return error;
  if (error.tens === undefined) return { ...error, tens: 2, units: 1 };
  return error.units === undefined ? { ...error, units: 4 } : error;
}
