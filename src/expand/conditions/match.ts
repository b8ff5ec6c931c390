/** Conditions that match: regular expressions, lists, passwords. They may set `$0`... and `$value` for the `yes` text. */
import { createHash } from 'node:crypto';
import { readList } from '../../mail/list-text.ts';
import { sameText } from '../ascii.ts';
import type { ConditionRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { ipOctets } from '../ip.ts';
import { error, type Result } from '../outcome.ts';
import { compileRegex } from '../regex.ts';
import type { ListAnswer, MatchKind } from '../scope.ts';
import { binaryCondition, type Taints } from './helpers.ts';

const match: ConditionRow = binaryCondition((subject, pattern, frame, taints) => {
  const regex = compileRegex(pattern);
  if (regex.kind === 'error') return regex;
  const found = regex.match(subject);
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
      ? answer.then((a) => listAnswer(a, frame, taints))
      : listAnswer(answer, frame, taints);
  }, true);
}

function listAnswer(answer: ListAnswer, frame: Frame, taints: Taints): Result<boolean> {
  if (answer.kind === 'defer') return answer;
  if (answer.kind === 'no') return false;
  frame.value = answer.data ?? '';
  frame.valueTainted = taints.second;
  return true;
}

/** Digest name, length of its base64 form, length of its hexadecimal form. */
const digests: ReadonlyMap<string, readonly [string, number, number]> = new Map([
  ['md5', ['md5', 24, 32]],
  ['sha1', ['sha1', 28, 40]],
]);

/** Exim manual, `crypteq`; crypt() schemes are refused, since Node has no crypt(). */
const crypteq: ConditionRow = binaryCondition((plain, encrypted) => {
  const found = /^\{(\w+)\}([^]*)$/.exec(encrypted);
  if (found === null) {
    if (encrypted.startsWith('{')) return error(`unknown encryption mechanism in "${encrypted}"`);
    return error('crypteq: comparison with crypt() strings is not supported, only {md5} and {sha1}');
  }
  const [, scheme = '', rest = ''] = found;
  const name = scheme.toLowerCase();
  if (name === 'crypt' || name === 'crypt16')
    return error('crypteq: comparison with crypt() strings is not supported, only {md5} and {sha1}');
  const digest = digests.get(name);
  if (digest === undefined) return error(`unknown encryption mechanism in "${encrypted}"`);
  const [algorithm, base64Length, hexLength] = digest;
  const hash = createHash(algorithm).update(Buffer.from(plain, 'latin1'));
  if (rest.length === base64Length) return hash.digest('base64') === rest;
  return rest.length === hexLength && hash.digest('hex') === rest.toLowerCase();
});

export const matchConditions: Readonly<Record<string, ConditionRow>> = {
  match,
  inlist: inList((a, b) => a === b),
  inlisti: inList(sameText),
  match_domain: listMatch('domain'),
  match_address: listMatch('address'),
  match_local_part: listMatch('local_part'),
  match_ip: listMatch('host'),
  crypteq,
};
