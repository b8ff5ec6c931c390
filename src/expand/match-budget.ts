/** A bound on the time that all regular expression matches of one expansion may take together. */
import type { Frame } from './frame.ts';
import type { Regex } from './regex.ts';

const maxMatchMs = 500;
/** So many matches of short subjects are not timed: looking at the clock costs as much as they do. */
const untimed = 8;
const shortOctets = 64;

/** Like {@link Regex.match}; an error once the expansion's time for matches is up. */
export function matchInFrame(
  regex: Regex,
  frame: Frame,
  subject: string,
  start = 0,
  continued = false,
): ReturnType<Regex['match']> {
  if (subject.length <= shortOctets && ++frame.matches <= untimed)
    return regex.match(subject, start, continued);
  const began = performance.now();
  const found = regex.match(subject, start, continued);
  frame.matchMs += performance.now() - began;
  return frame.matchMs > maxMatchMs
    ? { kind: 'error', reason: `regular expressions of one expansion take longer than ${maxMatchMs} ms` }
    : found;
}
