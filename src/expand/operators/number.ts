/** Operators on numbers, times and files. */
import { randomInt } from 'node:crypto';
import { statSync, type Stats } from 'node:fs';
import { evaluateArithmetic } from '../arithmetic.ts';
import type { OperatorRow } from '../evaluator.ts';
import { systemErrorText } from '../system-error.ts';
import { error, type Outcome } from '../outcome.ts';
import { formatTimeInterval, parseTimeInterval } from '../../mail/time-interval.ts';

function evaluator(decimal: boolean): OperatorRow {
  return {
    apply: (s) => {
      const r = evaluateArithmetic(s, decimal);
      return r.kind === 'value' ? String(r.value) : error(r.reason);
    },
    cleans: true,
  };
}

function symbolicMode(s: Stats): string {
  const type = s.isDirectory()
    ? 'd'
    : s.isSymbolicLink()
      ? 'l'
      : s.isCharacterDevice()
        ? 'c'
        : s.isBlockDevice()
          ? 'b'
          : s.isFIFO()
            ? 'p'
            : s.isSocket()
              ? 's'
              : '-';
  const special = [s.mode & 0o4000, s.mode & 0o2000, s.mode & 0o1000];
  const letters = ['s', 's', 't'];
  return (
    type +
    [6, 3, 0]
      .map((shift, i) => {
        const bits = (s.mode >> shift) & 7;
        const x = (bits & 1) !== 0;
        const letter = letters[i] ?? 's';
        const last = special[i] === 0 ? (x ? 'x' : '-') : x ? letter : letter.toUpperCase();
        return `${(bits & 4) !== 0 ? 'r' : '-'}${(bits & 2) !== 0 ? 'w' : '-'}${last}`;
      })
      .join('')
  );
}

function statText(path: string): Outcome<string> {
  try {
    const s = statSync(Buffer.from(path, 'latin1'));
    const seconds = (ms: number): number => Math.floor(ms / 1000);
    return (
      `mode=${(s.mode & 0o77777).toString(8).padStart(4, '0')} smode=${symbolicMode(s)} inode=${s.ino} device=${s.dev} ` +
      `links=${s.nlink} uid=${s.uid} gid=${s.gid} size=${s.size} atime=${seconds(s.atimeMs)} ` +
      `mtime=${seconds(s.mtimeMs)} ctime=${seconds(s.ctimeMs)}`
    );
  } catch (e) {
    return error(`stat(${path}) failed: ${systemErrorText(e)}`);
  }
}

/** Exim keeps a time in 32 bits. */
function seconds(text: string): number {
  const value = BigInt(text === '' ? 0 : text);
  return Number(BigInt.asIntN(32, value >= 2n ** 64n ? -1n : value));
}

export const numberOperators: Readonly<Record<string, OperatorRow>> = {
  eval: evaluator(false),
  eval10: evaluator(true),
  time_eval: {
    apply: (s) => {
      const ms = parseTimeInterval(s);
      return ms === undefined
        ? error(`string "${s}" is not an Exim time interval in "time_eval" operator`)
        : String(ms / 1000);
    },
    cleans: true,
  },
  time_interval: {
    apply: (s) =>
      /^[0-9]*$/.test(s)
        ? formatTimeInterval(seconds(s) * 1000)
        : error(`string "${s}" is not a positive number in "time_interval" operator`),
    cleans: true,
  },
  randint: {
    apply: (s) => {
      if (!/^\s*[-+]?[0-9]+\s*$/.test(s)) return error(`integer expected but "${s}" found`);
      const limit = Math.min(Number(s), 2 ** 47);
      return String(limit <= 1 ? 0 : randomInt(limit));
    },
    cleans: true,
  },
  stat: { apply: statText, cleans: true },
};
