/** Whether there is room for more mail (Exim manual, "check_spool_space", "check_log_space"). */
import { type StatsFs, statfsSync } from 'node:fs';

export interface SpaceLimits {
  /** A folder of the file system that is looked at. */
  readonly folder: string;
  /** KiB that must be left; 0 for no check. */
  readonly kilobytes: number;
  /** Inodes that must be left; 0 for no check. File systems without inodes always have enough. */
  readonly inodes: number;
}

/** Undefined where there is room for `octets` more; else what is left, for the log. */
export type SpaceCheck = (octets: number) => string | undefined;

/** One look at the file system serves the questions of this long; it costs as much as a small write. */
const keptMs = 200;

/** A folder that is not there yet is no reason to refuse. */
export function spaceCheck(limits: SpaceLimits): SpaceCheck {
  if (limits.kilobytes <= 0 && limits.inodes <= 0) return () => undefined;
  let askedAtMs = -Infinity;
  let space: StatsFs | undefined;
  return (octets) => {
    const nowMs = performance.now();
    if (nowMs - askedAtMs > keptMs) {
      askedAtMs = nowMs;
      space = look(limits.folder);
    }
    if (space === undefined) return undefined;
    const freeKilobytes = Math.floor((space.bavail * space.bsize) / 1024);
    const short =
      (limits.kilobytes > 0 && freeKilobytes < limits.kilobytes + octets / 1024) ||
      (limits.inodes > 0 && space.files > 0 && space.ffree < limits.inodes);
    return short ? `space=${freeKilobytes} inodes=${space.ffree}` : undefined;
  };
}

function look(folder: string): StatsFs | undefined {
  try {
    return statfsSync(folder);
  } catch {
    return undefined;
  }
}
