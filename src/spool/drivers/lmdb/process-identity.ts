import fs from 'node:fs';
import { MailError } from '../../../mail/mail-error.ts';

/** A process, told apart from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Start in clock ticks since boot, field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: string;
  readonly bootId: string;
  /** `pid:[4026531836]`, the namespace in which `pid` counts; empty where it cannot be read. */
  readonly pidNamespace: string;
}

export function ownIdentity(): ProcessIdentity {
  const stat = readStat('self');
  if (stat === undefined || stat === 'unreadable') {
    throw new MailError('UNAVAILABLE', 'the spool needs /proc to see which processes are alive');
  }
  return {
    pid: process.pid,
    startTicks: stat.startTicks,
    bootId: readText('/proc/sys/kernel/random/boot_id'),
    pidNamespace: readLink('/proc/self/ns/pid'),
  };
}

/**
 * True when the process is certainly no more. A process of another container (PID namespace) cannot be seen, so it
 * counts as alive, and its leases end by time.
 */
export function isGone(other: ProcessIdentity, self: ProcessIdentity): boolean {
  if (other.bootId !== self.bootId) return true;
  if (other.pidNamespace !== self.pidNamespace) return false;
  if (other.pid === self.pid) return other.startTicks !== self.startTicks;
  const stat = readStat(String(other.pid));
  // No such entry: gone, or hidden from us by /proc's mount option hidepid, which a signal tells apart.
  if (stat === undefined) return !exists(other.pid);
  if (stat === 'unreadable') return false;
  if (stat.startTicks !== other.startTicks) return true;
  // A zombie runs no code, unless other threads of it still finish a system call (a write to the spool).
  return (stat.state === 'Z' || stat.state === 'X') && stat.threads <= 1;
}

interface Stat {
  readonly state: string;
  readonly threads: number;
  readonly startTicks: string;
}

/** Undefined where there is no such entry; `unreadable` for any other fault (no descriptors left), which proves nothing. */
function readStat(pid: string): Stat | 'unreadable' | undefined {
  let text: string;
  try {
    text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    return code === 'ENOENT' || code === 'ESRCH' ? undefined : 'unreadable';
  }
  // The command name, in parentheses, may hold anything; fields count from behind its end.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, threads, startTicks] = [fields[0], fields[17], fields[19]];
  if (state === undefined || threads === undefined || startTicks === undefined) return 'unreadable';
  return { state, threads: Number(threads), startTicks };
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1').trim();
  } catch {
    return '';
  }
}

function readLink(file: string): string {
  try {
    return fs.readlinkSync(file, 'latin1');
  } catch {
    return '';
  }
}
