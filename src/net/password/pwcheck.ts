/** Cyrus pwcheck, saslauthd's forerunner: two strings with a zero octet after each ask, a text up to the end answers. */
import type { PasswordAnswer } from '../../mail/password-check.ts';
import { exchange } from './exchange.ts';

/** What Exim reads of an answer. */
const maxAnswerOctets = 1023;
const defaultTimeoutMs = 30_000;

/** @param path of the daemon's socket */
export async function askPwcheck(
  path: string,
  { user, password }: { readonly user: string; readonly password: string },
  timeoutMs: number = defaultTimeoutMs,
): Promise<PasswordAnswer> {
  // A zero octet would end the string before its end.
  if (user.includes('\0') || password.includes('\0')) return { kind: 'rejected' };
  const result = await exchange({
    path,
    request: Buffer.from(`${user}\0${password}\0`, 'latin1'),
    maxOctets: maxAnswerOctets,
    isWhole: () => false,
    timeoutMs,
  });
  if (result.kind === 'failed')
    return {
      kind: 'unknown',
      reason:
        result.stage === 'connect'
          ? 'cannot connect to pwcheck daemon'
          : `pwcheck daemon at ${path}: ${result.reason}`,
    };
  if (result.octets.length === 0)
    return { kind: 'unknown', reason: `pwcheck daemon at ${path}: no answer before the end` };
  return { kind: result.octets.toString('latin1', 0, 2) === 'OK' ? 'accepted' : 'rejected' };
}
