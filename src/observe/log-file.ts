import { closeSync, fstatSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';

/** A file that lines are appended to; it may be moved away at any time (logrotate) and is then made anew. */
export interface LogFile {
  /** Takes a line without its end. It reaches the file within the current turn of the event loop. */
  append(line: string): void;
  /** Writes what is waiting and closes. */
  close(): void;
}

/**
 * Opens a log for appending, with its folder. Lines of one turn of the event loop go out in one write.
 *
 * @param file gives the path now; it may change with the date (`%D` in log_file_path)
 * @param recheckMs how often the path is compared with the open file, so that a rotated log is left within this time
 * @param onFault told once for a run of faults: a log that cannot be written must not stop mail
 */
export function openLogFile(
  file: () => string,
  onFault: (error: unknown) => void,
  recheckMs = 1000,
): LogFile {
  let fd = -1;
  let openPath = '';
  let checkedAtMs = 0;
  let waiting: string[] = [];
  let scheduled = false;
  let faulty = false;
  /** The disk filled in the middle of a line: what comes next begins a new one. */
  let cut = false;

  function reopen(nowMs: number): void {
    const want = file();
    if (fd >= 0 && want === openPath && nowMs - checkedAtMs < recheckMs) return;
    checkedAtMs = nowMs;
    if (fd >= 0 && want === openPath && sameFile(fd, want)) return;
    if (fd >= 0) closeSync(fd);
    fd = -1;
    mkdirSync(path.dirname(want), { recursive: true, mode: 0o750 });
    fd = openSync(want, 'a', 0o640);
    openPath = want;
  }

  function flush(): void {
    scheduled = false;
    if (waiting.length === 0) return;
    const bytes = Buffer.from(`${cut ? '\n' : ''}${waiting.join('\n')}\n`, 'latin1');
    waiting = [];
    let written = 0;
    try {
      reopen(Date.now());
      while (written < bytes.length) written += writeSync(fd, bytes, written);
      faulty = cut = false;
    } catch (error) {
      if (written > 0) cut = bytes[written - 1] !== 0x0a;
      if (!faulty) onFault(error);
      faulty = true;
    }
  }

  return {
    append(line) {
      waiting.push(line);
      if (!scheduled) {
        scheduled = true;
        setImmediate(flush);
      }
    },
    close() {
      flush();
      if (fd >= 0) closeSync(fd);
      fd = -1;
    },
  };
}

function sameFile(fd: number, file: string): boolean {
  try {
    const open = fstatSync(fd);
    const named = statSync(file);
    return open.ino === named.ino && open.dev === named.dev;
  } catch {
    return false;
  }
}
