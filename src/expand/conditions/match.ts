/** Conditions that match: regular expressions, lists, passwords. They may set `$0`... and `$value` for the `yes` text. */
import { createHash } from 'node:crypto';
import { readList } from '../../mail/list-text.ts';
import { sameText } from '../ascii.ts';
import type { Ast } from '../ast.ts';
import type { ConditionRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { ipOctets } from '../ip.ts';
import { error, type Result } from '../outcome.ts';
import { encryptPassword } from '../libc.ts';
import { remember } from '../memory.ts';
import { matchInFrame } from '../match-budget.ts';
import { compileRegex } from '../regex.ts';
import { decodeSrs } from '../srs.ts';
import type { ListAnswer, MatchKind } from '../scope.ts';
import { binaryCondition, type Taints } from './helpers.ts';

const match: ConditionRow = binaryCondition((subject, pattern, frame, taints) => {
  const regex = compileRegex(pattern);
  if (regex.kind === 'error') return regex;
  const found = matchInFrame(regex, frame, subject);
  if (found === undefined) return false;
  if (found.kind === 'error') return found;
  frame.captures = found.groups;
  frame.capturesTainted = taints.first;
  return true;
});

function inList(same: (a: string, b: string) => boolean): ConditionRow {
  return binaryCondition((text, list, frame, taints) => {
    const found = readList(list).items.find((item) => same(text, item));
    if (found === undefined) return false;
    frame.value = found;
    frame.valueTainted = taints.second;
    return true;
  });
}

function listMatch(kind: MatchKind): ConditionRow {
  // The list is not expanded, for security reasons, says Exim's manual.
  return binaryCondition((subject, list, frame, taints) => {
    if (kind === 'host' && subject !== '' && ipOctets(subject) === undefined)
      return error(`"${subject}" is not an IP address`);
    const answer = frame.scope.services.matchList(kind, list, subject, frame.scope, taints.second);
    return answer instanceof Promise
      ? answer.then((a) => listAnswer(kind, a, frame, taints))
      : listAnswer(kind, answer, frame, taints);
  }, true);
}

function listAnswer(kind: MatchKind, answer: ListAnswer, frame: Frame, taints: Taints): Result<boolean> {
  if (answer.kind === 'defer') return answer;
  if (answer.kind === 'no') return false;
  frame.value = answer.data ?? '';
  if (answer.captures !== undefined && (kind === 'domain' || kind === 'local_part')) {
    frame.captures = answer.captures;
    frame.capturesTainted = taints.first;
  }
  frame.valueTainted = taints.second;
  return true;
}

/** Digest name, length of its base64 form, length of its hexadecimal form. */
const digests: ReadonlyMap<string, readonly [string, number, number]> = new Map([
  ['md5', ['md5', 24, 32]],
  ['sha1', ['sha1', 28, 40]],
]);

/** Two calls of crypt(3) as Exim's own crypt16() makes them: the halves of a password of up to 16 octets. */
function encrypt16(plain: string, setting: string): ReturnType<typeof encryptPassword> {
  const first = encryptPassword(plain.slice(0, 8), setting);
  const second = encryptPassword(plain.slice(8, 16), setting);
  if (typeof first !== 'string') return first;
  return typeof second === 'string' ? first + second.slice(2) : second;
}

function cryptEquals(plain: string, encrypted: string, halves: boolean): Result<boolean> {
  const made = halves ? encrypt16(plain, encrypted) : encryptPassword(plain, encrypted);
  if (typeof made === 'object')
    return error(`crypteq needs the library libcrypt.so.1 (Debian package libcrypt1): ${made.unavailable}`);
  return made === encrypted;
}

/** Exim manual, `crypteq`. */
const crypteq: ConditionRow = binaryCondition((plain, encrypted) => {
  const found = /^\{(\w+)\}([^]*)$/.exec(encrypted);
  if (found === null) {
    if (encrypted.startsWith('{')) return error(`unknown encryption mechanism in "${encrypted}"`);
    return cryptEquals(plain, encrypted, false);
  }
  const [, scheme = '', rest = ''] = found;
  const name = scheme.toLowerCase();
  if (name === 'crypt' || name === 'crypt16') return cryptEquals(plain, rest, name === 'crypt16');
  const digest = digests.get(name);
  if (digest === undefined) return error(`unknown encryption mechanism in "${encrypted}"`);
  const [algorithm, base64Length, hexLength] = digest;
  const hash = createHash(algorithm).update(Buffer.from(plain, 'latin1'));
  if (rest.length === base64Length) return hash.digest('base64') === rest;
  return rest.length === hexLength && hash.digest('hex') === rest.toLowerCase();
});

/** The recipient is left in `$srs_recipient` even where the signature is wrong, as Exim does. */
const inboundSrs: ConditionRow = {
  parse(p, name) {
    const groups: Ast[] = [];
    for (let n = 0; n < 2; n++) {
      p.skipSpace();
      if (!p.at('{')) return p.fail(`too few arguments or bracketing error for ${name}`);
      const group = p.group();
      if (group === undefined) return undefined;
      groups.push(group);
    }
    return { groups };
  },
  compile: binaryCondition((localPart, secret, frame, taints) => {
    const decoded = decodeSrs(localPart, secret);
    if (decoded === undefined) return false;
    remember(frame.scope, 'srs_recipient', { text: decoded.recipient, tainted: taints.first });
    return decoded.good;
  }).compile,
};

export const matchConditions: Readonly<Record<string, ConditionRow>> = {
  match,
  inlist: inList((a, b) => a === b),
  inlisti: inList(sameText),
  match_domain: listMatch('domain'),
  match_address: listMatch('address'),
  match_local_part: listMatch('local_part'),
  match_ip: listMatch('host'),
  crypteq,
  inbound_srs: inboundSrs,
};
