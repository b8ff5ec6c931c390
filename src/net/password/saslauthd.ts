/** Cyrus saslauthd: four counted strings ask, one answers (cyrus-sasl, saslauthd(8); Exim manual, condition "saslauthd"). */
import type { PasswordAnswer } from '../../mail/password-check.ts';
import { exchange } from './exchange.ts';

/** The longest answer that Exim takes. */
const maxAnswerOctets = 1024;
/** PAM and LDAP behind the daemon take their time. */
const defaultTimeoutMs = 30_000;

export interface SaslauthdQuestion {
  readonly user: string;
  readonly password: string;
  /** May be empty, like the realm. */
  readonly service: string;
  readonly realm: string;
}

/** @param path of the daemon's socket */
export async function askSaslauthd(
  path: string,
  question: SaslauthdQuestion,
  timeoutMs: number = defaultTimeoutMs,
): Promise<PasswordAnswer> {
  const strings = [question.user, question.password, question.service, question.realm];
  // The daemon's strings end at a zero octet, and a password must not be right by its beginning alone.
  if (strings.some((s) => s.includes('\0') || s.length > 0xffff)) return { kind: 'rejected' };
  const result = await exchange({
    path,
    request: Buffer.concat(strings.map(counted)),
    maxOctets: 2 + maxAnswerOctets,
    isWhole: (octets) => octets.length >= 2 && octets.length >= 2 + octets.readUInt16BE(0),
    timeoutMs,
  });
  if (result.kind === 'failed')
    return unknown(
      result.stage === 'connect'
        ? `cannot connect to saslauthd daemon at ${path}: ${result.reason}`
        : `saslauthd daemon at ${path}: ${result.reason}`,
    );
  const { octets } = result;
  const length = octets.length < 2 ? undefined : octets.readUInt16BE(0);
  if (length === undefined || length < 2 || length > maxAnswerOctets || octets.length < 2 + length)
    return unknown(`saslauthd daemon at ${path}: corrupted answer`);
  const text = octets.toString('latin1', 2, 2 + length);
  if (text.startsWith('OK')) return { kind: 'accepted' };
  if (text.startsWith('NO')) return { kind: 'rejected' };
  return unknown(text);
}

function counted(text: string): Buffer {
  const octets = Buffer.alloc(2 + text.length);
  octets.writeUInt16BE(text.length);
  octets.write(text, 2, 'latin1');
  return octets;
}

function unknown(reason: string): PasswordAnswer {
  return { kind: 'unknown', reason };
}
