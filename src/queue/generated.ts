/** How messages made here come into the queue. */
import { longestLineOf } from '../mail/body-meter.ts';
import type { Reception } from '../mail/envelope.ts';

/** @param content the whole message */
export function madeHere(content: Uint8Array, nowMs: number): Reception {
  return { protocol: 'local', receivedAtMs: nowMs, longestLine: longestLineOf(content) };
}
