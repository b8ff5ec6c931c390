/** What a job on this machine comes to. */
import type { EnhancedStatus } from '../../../mail/reply.ts';
import { errorText } from '../../../mail/error-text.ts';

export type JobOutcome =
  | { readonly kind: 'done'; readonly text?: string }
  | {
      readonly kind: 'failed' | 'deferred';
      readonly text: string;
      readonly code?: EnhancedStatus;
      /** The message is to be frozen. */
      readonly freeze?: boolean;
    };

export function deferred(text: string): JobOutcome {
  return { kind: 'deferred', text };
}

const words: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EAGAIN: 'Resource temporarily unavailable',
  EDQUOT: 'Disk quota exceeded',
  EEXIST: 'File exists',
  EFBIG: 'File too large',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENXIO: 'No such device or address',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
};

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** The system's words for an error, as strerror gives them. */
export function errorWords(error: unknown): string {
  return words[codeOf(error) ?? ''] ?? errorText(error);
}
