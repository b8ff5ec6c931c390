/** What a system error means for a recipient. */
import type { StoreOutcome } from '../../mail-store.ts';
import { storageErrorText } from '../../../mail/storage-error-text.ts';

/** The error's system code, or the empty string. */
export function failureCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The `code` of errors that mean: there is no such folder, and none shall be made. */
export const noFolder = 'NO_FOLDER';

/** A file system quota is the user's fault; a full disk, a missing right or a broken disk is ours and passes. */
export function failureOutcome(error: unknown, maildir: string): StoreOutcome {
  const code = failureCode(error);
  if (code === noFolder) return { kind: 'no-folder', reason: storageErrorText(error) };
  if (code === 'EDQUOT') return { kind: 'over-quota', text: 'Not enough disk quota' };
  return {
    kind: 'unavailable',
    reason: `${maildir}: ${storageErrorText(error)}`,
  };
}
