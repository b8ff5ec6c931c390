/** Whether a message that was announced came into its mailbox. */
import { existsSync, opendirSync } from 'node:fs';
import path from 'node:path';

/**
 * @param token path of the mailbox and the name in its `new`; in `cur` readers have put flags behind the name, and only what stands
 *   before the sizes never changes
 */
export function holdsMessage(token: string): boolean {
  const mailbox = path.dirname(token);
  const name = path.basename(token);
  if (existsSync(path.join(mailbox, 'new', name))) return true;
  const base = name.split(/[,:]/, 1)[0] ?? name;
  return hasName(path.join(mailbox, 'cur'), base) || hasName(path.join(mailbox, 'new'), base);
}

function hasName(folder: string, base: string): boolean {
  try {
    const entries = opendirSync(folder);
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
        if (entry.name.startsWith(base) && /^(?:[,:]|$)/.test(entry.name.slice(base.length))) return true;
      return false;
    } finally {
      entries.closeSync();
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
