/** Stable codes of {@link MailError}; a program may switch on them, so they are never renamed. */
export type MailErrorCode =
  | 'ABORTED'
  | 'CLOSED'
  | 'CONNECT'
  | 'CORRUPT'
  | 'DEADLINE'
  | 'IO'
  | 'LIMIT'
  | 'NO_SPACE'
  | 'PROTOCOL'
  | 'UNAVAILABLE';

/** What is thrown for broken I/O, aborts and bugs; results one expects are values, not errors (DESIGN §6). */
export class MailError extends Error {
  readonly code: MailErrorCode;
  constructor(code: MailErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'MailError';
    this.code = code;
  }
}
