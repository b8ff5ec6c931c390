/** Quota rules as Dovecot 2.3 reads them (manual, "Quota Configuration"): limits, folders with rules of their own, and grace. */
import type { Amount } from './amount.ts';

/** A share of the default limit in percent, or a number of its own. */
export interface Share {
  readonly fixed: number;
  readonly percent?: number;
}

interface FolderRule {
  readonly mask: string;
  readonly matches: RegExp;
  readonly ignore: boolean;
  readonly bytes: Share;
  readonly messages: Share;
}

export interface QuotaRules {
  /** From the rule `*` or `?`. */
  readonly limits: Amount;
  /** False where the limits come from the maildirsize file once there is one: no rule `*`. */
  readonly forced: boolean;
  /** In order: the first whose mask matches a folder is its rule. */
  readonly folders: readonly FolderRule[];
  /** How far one message may exceed the limit of octets at delivery. */
  readonly grace: Share;
}

export type Read<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'refused'; readonly reason: string };

const none: Share = { fixed: 0 };
const defaultGrace = '10%';

/**
 * @param texts `MASK:LIMIT=VALUE[:LIMIT=VALUE]`, `MASK:ignore`, `MASK:backend=5000S,10C`, in order
 * @param grace `10%`, `50M`, ...; undefined for Dovecot's 10%
 */
export function readQuotaRules(texts: readonly string[], grace: string | undefined): Read<QuotaRules> {
  let limits: FolderRule = { mask: '*', matches: /^/, ignore: false, bytes: none, messages: none };
  let forced = false;
  const folders: FolderRule[] = [];
  for (const text of texts) {
    const colon = text.indexOf(':');
    if (colon < 0) return refused(`"${text}" has no colon after the folder`);
    const mask = text.slice(0, colon);
    if (mask === '*' || mask === '?') {
      const read = readLimits(limits, text.slice(colon + 1), false);
      if (read.kind === 'refused') return refused(`"${text}": ${read.reason}`);
      limits = read.value;
      if (mask === '*') forced = true;
      continue;
    }
    const name = mask.toUpperCase() === 'INBOX' ? 'INBOX' : mask;
    const at = folders.findIndex((f) => f.mask === name);
    const before = folders[at] ?? {
      mask: name,
      matches: wildcards(name),
      ignore: false,
      bytes: none,
      messages: none,
    };
    const read = readLimits(before, text.slice(colon + 1), true);
    if (read.kind === 'refused') return refused(`"${text}": ${read.reason}`);
    if (at < 0) folders.push(read.value);
    else folders[at] = read.value;
  }
  const allowance = readValue(grace ?? defaultGrace, 1, 'percent');
  if (allowance.kind === 'refused' || allowance.value.fixed < 0 || (allowance.value.percent ?? 0) < 0)
    return refused(`"${grace}" is not a size or percentage`);
  return {
    kind: 'ok',
    value: {
      limits: { bytes: limits.bytes.fixed, messages: limits.messages.fixed },
      forced,
      folders,
      grace: allowance.value,
    },
  };
}

/** What a folder may hold in all: {@link Amount} 0 where there is no limit. `ignored` mail is not counted. */
export function limitsOf(
  { folders }: QuotaRules,
  base: Amount,
  folder: string | undefined,
): { readonly limits: Amount; readonly ignored: boolean } {
  const rule = folders.find((f) => isFor(f, folder));
  if (rule === undefined) return { limits: base, ignored: false };
  // Without a default limit there is none at all.
  if (rule.ignore || (base.bytes === 0 && base.messages === 0))
    return { limits: { bytes: 0, messages: 0 }, ignored: rule.ignore };
  return {
    limits: {
      bytes: Math.max(0, base.bytes + share(rule.bytes, base.bytes)),
      messages: Math.max(0, base.messages + share(rule.messages, base.messages)),
    },
    ignored: false,
  };
}

/** Octets by which the message that fills the mailbox may exceed the limit. */
export function graceOf({ grace }: QuotaRules, base: Amount): number {
  return share(grace, base.bytes);
}

/**
 * Whether a message of `octets` may come in. Dovecot's sum: a mailbox that has reached its limit takes nothing, one that
 * has not may exceed it by the grace with its last message. 0 octets ask whether the mailbox is over its limit already.
 */
export function fits(limits: Amount, graceBytes: number, used: Amount, octets: number): boolean {
  if (limits.messages !== 0 && used.messages >= limits.messages) return false;
  if (limits.bytes === 0) return true;
  if (octets === 0) return used.bytes <= limits.bytes;
  return used.bytes < limits.bytes && octets <= limits.bytes - used.bytes + graceBytes;
}

/** @param resolved as {@link share} gives it */
export function share({ fixed, percent }: Share, base: number): number {
  return percent === undefined ? fixed : Math.trunc((base * percent) / 100);
}

/** A folder's levels may be parted as Dovecot's namespace has it, `/` or `.`. */
function isFor(rule: FolderRule, folder: string | undefined): boolean {
  if (folder === undefined || folder.toUpperCase() === 'INBOX') return rule.matches.test('INBOX');
  return (
    rule.matches.test(folder) || (folder.includes('/') && rule.matches.test(folder.replaceAll('/', '.')))
  );
}

function wildcards(mask: string): RegExp {
  const pattern = mask.replace(/[^A-Za-z0-9]/g, (c) => (c === '*' ? '.*' : c === '?' ? '.' : `\\${c}`));
  return new RegExp(`^${pattern}$`, 's');
}

function readLimits(before: FolderRule, text: string, relative: boolean): Read<FolderRule> {
  if (text === 'ignore') return { kind: 'ok', value: { ...before, ignore: true } };
  if (text.startsWith('backend=')) return readBackendLimits(before, text.slice('backend='.length));
  if (text === '') return { kind: 'ok', value: before };
  const read = readShares(text, relative ? 'relative' : 'absolute');
  return read.kind === 'ok' ? { kind: 'ok', value: { ...before, ...read.value } } : read;
}

export interface Shares {
  readonly bytes?: Share;
  readonly messages?: Share;
}

/**
 * Reads `storage=1M:messages=10`. Of one thing said twice the last counts.
 *
 * @param kind `relative` to the default limit: with a sign, or in percent; `threshold`: in percent, but never negative
 */
export function readShares(text: string, kind: 'absolute' | 'relative' | 'threshold'): Read<Shares> {
  const shares: { bytes?: Share; messages?: Share } = {};
  for (const part of text.split(':')) {
    const [, name = '', plus = '', number = ''] = /^([^=]*)=?(\+?)(.*)$/s.exec(part) ?? [];
    if (!['storage', 'bytes', 'messages'].includes(name)) return refused(`there is no limit "${name}"`);
    if (plus !== '' && kind !== 'relative') return refused('only the limit of a folder may have a "+"');
    const read = readValue(number, name === 'storage' ? 1024 : 1, kind === 'absolute' ? 'number' : 'percent');
    if (read.kind === 'refused') return refused(`${name}: ${read.reason}`);
    const { fixed, percent = 0 } = read.value;
    if (kind !== 'relative' && (fixed < 0 || percent < 0))
      return refused(`${name}: a limit cannot be negative`);
    shares[name === 'messages' ? 'messages' : 'bytes'] = read.value;
  }
  return { kind: 'ok', value: shares };
}

/** Maildir++'s own way: `5000S,10C`, or `NOQUOTA`. */
function readBackendLimits(before: FolderRule, text: string): Read<FolderRule> {
  if (text === 'NOQUOTA') return { kind: 'ok', value: { ...before, bytes: none, messages: none } };
  const limits = readMaildirLimits(text);
  return limits === undefined
    ? refused('not a Maildir++ limit')
    : {
        kind: 'ok',
        value: { ...before, bytes: { fixed: limits.bytes }, messages: { fixed: limits.messages } },
      };
}

/** `10240S,100C` in any order; undefined where a part is neither. */
export function readMaildirLimits(text: string): Amount | undefined {
  let bytes = 0;
  let messages = 0;
  for (const part of text.split(',')) {
    const m = /^([0-9]+)([SC])$/.exec(part);
    const value = Number(m?.[1]);
    if (m === null || !Number.isSafeInteger(value)) return undefined;
    if (value === 0) continue;
    if (m[2] === 'S') bytes = value;
    else messages = value;
  }
  return { bytes, messages };
}

const units: Readonly<Record<string, number>> = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** A number with a unit letter, of which Dovecot reads the first character only (`1MB`). `%%` is Dovecot's way to write `%` in its file. */
export function readValue(text: string, unit: number, allowed: 'number' | 'percent'): Read<Share> {
  const m = /^(-?[0-9]+)(.?)/s.exec(text);
  if (m === null) return refused(`"${text}" is not a number`);
  const [, digits = '', letter = ''] = m;
  const number = Number(digits);
  if (letter === '%') {
    if (allowed === 'number') return refused("only a folder's limit may be a percentage");
    if (number <= -100 || number >= 2 ** 32) return refused(`"${text}" is not a percentage`);
    return { kind: 'ok', value: { fixed: 0, percent: number } };
  }
  const times = letter === '' ? unit : units[letter.toUpperCase()];
  if (times === undefined) return refused(`"${letter}" is not a unit`);
  if (!Number.isSafeInteger(number * times)) return refused(`"${text}" is too large`);
  return { kind: 'ok', value: { fixed: number * times } };
}

function refused(reason: string): { readonly kind: 'refused'; readonly reason: string } {
  return { kind: 'refused', reason };
}
