import { unlinkSync } from 'node:fs';
import { failureCode } from '../maildir/failure.ts';

/** Removes a name; that it is gone already is no fault. */
export function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (failureCode(error) !== 'ENOENT') throw error;
  }
}
