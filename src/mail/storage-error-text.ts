import { errorText } from './error-text.ts';

/** What went wrong, for the log: paths through descriptors (`/proc/self/fd/25/maildirsize`) lose their beginning, which tells an administrator nothing. */
export function storageErrorText(error: unknown): string {
  return errorText(error).replace(/\/proc\/self\/fd\/\d+(?=\/|')/g, '...');
}
