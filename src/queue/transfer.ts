/** The names by which our own stores tell repeats (XTRANSFER); the same at every attempt. */
import type { QueueId } from '../mail/message-id.ts';

/** @param instance a name of this spool that no other has */
export function transferName(instance: string, id: QueueId): string {
  return `${instance}.${id}`;
}

/**
 * Another one for each copy.
 *
 * @param number of the recipient in the message
 * @param key the unique name of what it was turned into, empty for the recipient itself
 */
export function transferNumber(number: string, key: string): string {
  if (key === '') return number;
  // FNV-1a: whoever shares a number with another has the store's own address to be told by too.
  let digest = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) digest = Math.imul(digest ^ key.charCodeAt(i), 0x01000193);
  return `${number}.${(digest >>> 0).toString(16)}`;
}
