/** Reads a forward file or an included one, with the checks of its rights (Exim manual, "Private options for the redirect router"). */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { errorText } from '../../mail/error-text.ts';

export interface ForwardFileChecks {
  /** Mode bits that must not be set. */
  readonly modemask: number;
  /** Absent: whoever. */
  readonly owners?: readonly number[];
  readonly groups?: readonly number[];
  readonly ignoreEnotdir: boolean;
  readonly ignoreEacces: boolean;
}

export type FileText =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'problem'; readonly text: string };

/** Longest list of addresses in a file. */
const maxBytes = 16 * 1024 * 1024;

const problem = (text: string): FileText => ({ kind: 'problem', text });

/** The contents as octets, one a character. */
export function readForwardFile(file: string, checks: ForwardFileChecks): FileText {
  let fd: number;
  try {
    // A FIFO must not stop everything.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return checks.ignoreEnotdir ? { kind: 'missing' } : missingFile(file);
    if ((code === 'ENOTDIR' && checks.ignoreEnotdir) || (code === 'EACCES' && checks.ignoreEacces))
      return { kind: 'missing' };
    return problem(`failed to open ${file}: ${textOf(error)}`);
  }
  try {
    const stats = fstatSync(fd);
    const wrong = badRights(file, stats, checks);
    if (wrong !== undefined) return problem(wrong);
    if (stats.size > maxBytes) return problem(`${file} is larger than ${maxBytes} octets`);
    return { kind: 'text', text: readFileSync(fd, 'latin1') };
  } catch (error) {
    return problem(`failed to read ${file}: ${textOf(error)}`);
  } finally {
    closeSync(fd);
  }
}

/** A directory that is missing too may only not be mounted. */
function missingFile(file: string): FileText {
  const parent = path.dirname(file);
  try {
    statSync(parent);
    return { kind: 'missing' };
  } catch (error) {
    return problem(`failed to stat ${parent}/. (${textOf(error)})`);
  }
}

function badRights(file: string, stats: Stats, checks: ForwardFileChecks): string | undefined {
  if (!stats.isFile()) return `${file} is not a regular file`;
  const bits = stats.mode & checks.modemask;
  if (bits !== 0)
    return `bad mode (0${stats.mode.toString(8)}) for ${file}: 0${bits.toString(8)} bit(s) unexpected`;
  if (checks.owners?.includes(stats.uid) === false) return `bad owner for ${file}`;
  if (checks.groups?.includes(stats.gid) === false) return `bad group for ${file}`;
  return undefined;
}

/** @param directory `include_directory`, in which the file must lie after all links are followed */
export function readIncludedFile(file: string, directory: string | undefined): FileText {
  if (!file.startsWith('/')) return problem(`included file "${file}" is not an absolute path`);
  if (directory !== undefined) {
    const outside = problem(`included file ${file} is not in directory ${directory}`);
    if (!isWithin(file, directory)) return outside;
    try {
      if (!isWithin(realpathSync(file), realpathSync(directory))) return outside;
    } catch (error) {
      return problem(`failed to open included file ${file}: ${textOf(error)}`);
    }
  }
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return problem(`included file ${file} is not a regular file`);
    if (stats.size > maxBytes) return problem(`included file ${file} is larger than ${maxBytes} octets`);
    return { kind: 'text', text: readFileSync(file, 'latin1') };
  } catch (error) {
    return problem(`failed to open included file ${file}: ${textOf(error)}`);
  }
}

function isWithin(file: string, directory: string): boolean {
  const base = directory.endsWith('/') ? directory : `${directory}/`;
  return path.normalize(file).startsWith(base);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The system's words: `No such file or directory`. */
function textOf(error: unknown): string {
  const errno = error instanceof Error && 'errno' in error ? Number(error.errno) : Number.NaN;
  if (Number.isNaN(errno)) return errorText(error);
  const text = getSystemErrorMessage(errno);
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
