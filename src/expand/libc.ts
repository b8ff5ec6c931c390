/** Calls of the C library that Node lacks, through koffi: pipe2(2) and crypt(3) of libcrypt. Loaded on first use. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { errorText } from '../mail/error-text.ts';

function load(library: string): Koffi.LibraryHandle {
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  return koffi.load(library);
}

const closeOnExec = 0o2000000;
type Pipe2 = (ends: number[], flags: number) => number;
let pipe2: Pipe2 | undefined;

/** A pipe whose ends programs do not inherit. Throws where the system gives none. */
export function openPipe(): { readonly reader: number; readonly writer: number } {
  pipe2 ??= load('libc.so.6').func('int pipe2(_Out_ int *ends, int flags)') as Pipe2;
  const ends = [-1, -1];
  if (pipe2(ends, closeOnExec) !== 0) throw new Error('pipe2 failed');
  return { reader: ends[0] ?? -1, writer: ends[1] ?? -1 };
}

type Crypt = (key: Buffer, salt: Buffer) => string | null;
let crypt: Crypt | undefined;

/**
 * crypt(3): the encrypted form of a password by the method and salt of `setting`. Octet strings.
 *
 * @returns undefined where the setting is none, or `{ unavailable }` with the reason where the library is missing
 */
export function encryptPassword(
  password: string,
  setting: string,
): string | undefined | { readonly unavailable: string } {
  try {
    crypt ??= load('libcrypt.so.1').func(
      'const char *crypt(const uint8_t *key, const uint8_t *salt)',
    ) as Crypt;
  } catch (e) {
    return { unavailable: errorText(e) };
  }
  const octets = (s: string): Buffer => Buffer.from(`${s}\0`, 'latin1');
  const found = crypt(octets(password), octets(setting));
  // libxcrypt answers `*0` or `*1` for a setting that it does not know.
  return found === null || found.startsWith('*') ? undefined : found;
}
