// What a main log says of one message.
import assert from 'node:assert/strict';
import { until } from './process.ts';

/** The id that the last of a client's replies gives; fails where that is no acceptance. */
export function acceptedId(replies: readonly string[]): string {
  const id = /^250 OK id=(\S+)/.exec(replies.at(-1) ?? '')?.[1];
  assert.ok(id !== undefined, replies.join(' | '));
  return id;
}

/** The message's lines, from what follows its id on. */
export function linesAbout(log: string, id: string): string[] {
  return log
    .split('\n')
    .flatMap((l) => (l.includes(` ${id} `) ? [l.slice(l.indexOf(id) + id.length + 1)] : []));
}

/** Waits until the accepted message is through, and gives its lines. */
export async function completed(log: () => string, replies: readonly string[]): Promise<string[]> {
  const id = acceptedId(replies);
  const lines = (): string[] => linesAbout(log(), id);
  await until(
    () => lines().includes('Completed'),
    () => `completed: ${lines().join('\n')}`,
  );
  return lines();
}
