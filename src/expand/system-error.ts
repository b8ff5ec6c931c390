/** The system's words for a failed call, as C programs print them. */
import { getSystemErrorMap } from 'node:util';

const words: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'No such file or directory'],
  ['EACCES', 'Permission denied'],
  ['ENOTDIR', 'Not a directory'],
  ['EISDIR', 'Is a directory'],
  ['ENAMETOOLONG', 'File name too long'],
  ['ELOOP', 'Too many levels of symbolic links'],
  ['EMFILE', 'Too many open files'],
  ['EIO', 'Input/output error'],
  ['ECONNREFUSED', 'Connection refused'],
  ['ECONNRESET', 'Connection reset by peer'],
  ['ETIMEDOUT', 'Connection timed out'],
  ['EHOSTUNREACH', 'No route to host'],
  ['ENETUNREACH', 'Network is unreachable'],
  ['EPIPE', 'Broken pipe'],
  ['EPERM', 'Operation not permitted'],
  ['EADDRNOTAVAIL', 'Cannot assign requested address'],
]);

export function systemErrorText(e: unknown): string {
  if (!(e instanceof Error)) return String(e);
  const { code, errno } = e as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : words.get(code);
  if (known !== undefined) return known;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? e.message;
}
