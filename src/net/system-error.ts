import { getSystemErrorMessage } from 'node:util';

/** The C library's words where libuv's differ from what Exim's log and its readers know. */
const texts: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'Connection refused'],
  ['ECONNRESET', 'Connection reset by peer'],
  ['ENOENT', 'No such file or directory'],
  ['EACCES', 'Permission denied'],
  ['EHOSTUNREACH', 'No route to host'],
  ['ENETUNREACH', 'Network is unreachable'],
  ['ETIMEDOUT', 'Connection timed out'],
  ['EPIPE', 'Broken pipe'],
  ['EAGAIN', 'Resource temporarily unavailable'],
  ['EMFILE', 'Too many open files'],
  ['ENOTFOUND', 'host name not found'],
  ['ENOTSOCK', 'Socket operation on non-socket'],
]);

/** A system error in the words of the log (`Connection refused`); the error's own message for anything else. */
export function systemErrorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const known = code === undefined ? undefined : texts.get(code);
  if (known !== undefined) return known;
  if ('errno' in error && typeof error.errno === 'number') {
    const message = getSystemErrorMessage(error.errno);
    if (message !== undefined) return message.charAt(0).toUpperCase() + message.slice(1);
  }
  return error.message;
}
