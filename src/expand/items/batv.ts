/** `${prvs{...}}` and `${prvscheck{...}}`: signed reverse paths (Exim manual, "Bounce address tag validation"). */
import { createHmac } from 'node:crypto';
import type { Ast } from '../ast.ts';
import { aside, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { remember } from '../memory.ts';
import { error, finish, type Result } from '../outcome.ts';
import { compileGroup, groupsItem } from './helpers.ts';

/** Days that a signature is good for. */
const validDays = 7;

/** The day `ahead` days from now, as three digits that start again after 999. */
function dayStamp(ahead: number): string {
  const day = Math.floor(Date.now() / 86_400_000) + ahead;
  return String(day % 1000).padStart(3, '0');
}

function signature(address: string, secret: string, key: string, day: string): string {
  return createHmac('sha1', Buffer.from(secret, 'latin1'))
    .update(Buffer.from(`${key}${day}${address}`, 'latin1'))
    .digest('hex')
    .slice(0, 6);
}

const prvs: ItemRow = groupsItem(2, 3, ([address = '', secret = '', key = '0']) => {
  const at = address.lastIndexOf('@');
  if (at <= 0) return error('prvs first argument must be a qualified email address');
  if (key !== '' && !/^[0-9]$/.test(key)) return error('prvs third argument must be a single digit');
  const day = dayStamp(validDays);
  return `prvs=${key}${day}${signature(address, secret, key, day)}=${address}`;
});

const signed = /^prvs=([0-9])([0-9]{3})([A-F0-9]{6})=(.+)@(.+)$/i;

/** True until the day of the stamp, reckoned over the turn of the thousand days. */
function notExpired(stamp: string): boolean {
  const today = Number(dayStamp(0));
  const last = Number(stamp);
  return last >= (last < validDays && today >= 1000 - validDays ? 0 : today);
}

const prvscheck: ItemRow = {
  parse(p, name) {
    const groups: Ast[] = [];
    p.skipSpace();
    while (groups.length < 3 && p.at('{')) {
      const group = p.group();
      if (group === undefined) return undefined;
      groups.push(group);
      p.skipSpace();
    }
    // Exim reads the arguments one at a time and counts so.
    if (groups.length < 2) return p.fail(`Not enough arguments for '${name}' (min is 1)`);
    if (p.take('}')) return { groups };
    return p.fail(p.at('{') ? `Too many arguments for '${name}' (max is 1)` : `missing '}' after '${name}'`);
  },
  compile(parts, compiler) {
    const subject = compileGroup(parts, 0, compiler);
    const secret = compileGroup(parts, 1, compiler);
    const result = parts.groups[2] === undefined ? undefined : compileGroup(parts, 2, compiler);
    return (frame) =>
      aside(subject, frame, (text, tainted): Result<string> => {
        const found = signed.exec(text);
        if (found === null) return '';
        const [, key = '', day = '', hash = '', local = '', domain = ''] = found;
        const address = `${local}@${domain}`;
        const before = frame.prvs;
        frame.prvs = { address, key, tainted };
        const checked = aside(secret, frame, (secretText): Result<string> => {
          const good = signature(address, secretText, key, day) === hash.toLowerCase() && notExpired(day);
          remember(frame.scope, 'prvscheck_result', { text: good ? '1' : '', tainted: false });
          return choose(result === undefined ? '' : result(frame), address, tainted, frame);
        });
        return finish(checked, () => void (frame.prvs = before));
      });
  },
};

/** The third argument where it says something, else the address. */
function choose(r: Result<string>, address: string, tainted: boolean, frame: Frame): Result<string> {
  if (r instanceof Promise) return r.then((text) => choose(text, address, tainted, frame));
  if (r !== '') return r;
  if (tainted) frame.tainted = true;
  return address;
}

export const batvItems: Readonly<Record<string, ItemRow>> = { prvs, prvscheck };
