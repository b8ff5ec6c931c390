/** Collects diagnostics, so that one run finds all that is wrong. */
import type { Diagnostic, SourcePosition } from '../mail/diagnostic.ts';

/** More than this many are not kept: a file that is no configuration should not fill the screen. */
const maxDiagnostics = 200;

export interface Report {
  readonly diagnostics: readonly Diagnostic[];
  error(position: SourcePosition, message: string, hint?: string): void;
  warning(position: SourcePosition, message: string, hint?: string): void;
  note(position: SourcePosition, message: string, hint?: string): void;
  /** True once an error was reported, kept or not. */
  failed(): boolean;
}

export function createReport(): Report {
  const diagnostics: Diagnostic[] = [];
  let failed = false;
  const add = (
    severity: Diagnostic['severity'],
    position: SourcePosition,
    message: string,
    hint?: string,
  ): void => {
    if (severity === 'error') failed = true;
    if (diagnostics.length >= maxDiagnostics) return;
    diagnostics.push({ severity, position, message, ...(hint === undefined ? {} : { hint }) });
  };
  return {
    diagnostics,
    error: (p, m, h) => add('error', p, m, h),
    warning: (p, m, h) => add('warning', p, m, h),
    note: (p, m, h) => add('note', p, m, h),
    failed: () => failed,
  };
}
