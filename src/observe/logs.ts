import path from 'node:path';
import { openLogFile } from './log-file.ts';
import type { LogItems } from './log-items.ts';
import { logMillis, logTime, logZone } from './log-time.ts';

/** Exim's three logs (Exim manual, "Log files"). Lines are given without a time stamp. */
export interface Logs {
  main(line: string): void;
  /** Rejections. Lines of `details` go below without a stamp: the message's header, where there is one. */
  reject(line: string, details?: readonly string[]): void;
  /** Faults of the program or its surroundings; also written to the main log. */
  panic(line: string): void;
  close(): void;
}

/** Of the logs that a line is meant for those to write to: what goes to the panic log is in the main log by that. */
export function logTargets<T extends string>(meant: readonly T[]): readonly T[] {
  return meant.some((m) => m === 'panic') ? meant.filter((m) => m !== 'main') : meant;
}

export interface LogOptions {
  /** `log_file_path`: paths with `%s` for the log's name and `%D`/`%M` for the date or month, parted by colons. */
  readonly logFilePath: string;
  readonly spoolDirectory: string;
  /** For `millisec` and `pid`, which are in every line. */
  readonly items?: LogItems;
  /** `write_rejectlog`; true where absent. */
  readonly writeRejectLog?: boolean;
  /** `log_timezone`: stamps tell the zone. */
  readonly timezone?: boolean;
  /** Also called with each line of the main log, stamped; for a terminal. */
  readonly echo?: (line: string) => void;
  /** Also called with each line of the panic log, without its stamp; for a terminal. */
  readonly complain?: (line: string) => void;
}

/**
 * The file of one of the three logs under `log_file_path` (Exim manual, "Where the logs are written"): an empty value means
 * `log/%slog` under the spool directory. `syslog` is refused when the configuration is checked.
 */
export function logPath(options: LogOptions, name: 'main' | 'reject' | 'panic', nowMs: number): string {
  return stampedPath(pathTemplate(options, name), name, nowMs);
}

function pathTemplate(options: LogOptions, name: 'main' | 'reject' | 'panic'): string {
  const first = options.logFilePath
    .split(':')
    .map((item) => item.trim())
    .find((item) => item !== '');
  const given = first ?? path.join(options.spoolDirectory, 'log', '%slog');
  return name === 'panic' ? withoutDate(given) : given;
}

function stampedPath(template: string, name: string, nowMs: number): string {
  const stamp = logTime(nowMs).slice(0, 10).replaceAll('-', '');
  return template.replace(/%([sDM])/g, (_, what: string) =>
    what === 's' ? name : what === 'D' ? stamp : stamp.slice(0, 6),
  );
}

/** The panic log is not cycled: `%D` and `%M` go, with the punctuation that parts them from the rest (Exim manual, "Datestamped log files"). */
function withoutDate(template: string): string {
  return template.replace(/\/%[DM][^A-Za-z0-9]?|[^A-Za-z0-9]?%[DM]/g, (found) =>
    found.startsWith('/%') ? '/' : '',
  );
}

/** Opens the logs; nothing is created before the first line. */
export function openLogs(options: LogOptions): Logs {
  const open = (name: 'main' | 'reject' | 'panic') => {
    const template = pathTemplate(options, name);
    const cycled = /%[DM]/.test(template);
    const path = stampedPath(template, name, Date.now());
    return openLogFile(
      () => (cycled ? stampedPath(template, name, Date.now()) : path),
      (error) => process.stderr.write(`cannot write the ${name} log: ${String(error)}\n`),
    );
  };
  const files = { main: open('main'), reject: open('reject'), panic: open('panic') };
  const millis = options.items?.has('millisec') === true;
  const pid = options.items?.has('pid') === true ? `[${process.pid}] ` : '';
  const zone = options.timezone === true;
  const stamped = (line: string): string => {
    const nowMs = Date.now();
    return `${logTime(nowMs)}${millis ? logMillis(nowMs) : ''}${zone ? ` ${logZone(nowMs)}` : ''} ${pid}${line}`;
  };
  const logs: Logs = {
    main(line) {
      const text = stamped(line);
      files.main.append(text);
      options.echo?.(text);
    },
    reject(line, details = []) {
      if (options.writeRejectLog === false) return;
      files.reject.append([stamped(line), ...details].join('\n'));
    },
    panic(line) {
      files.panic.append(stamped(line));
      logs.main(line);
      options.complain?.(line);
    },
    close() {
      files.main.close();
      files.reject.close();
      files.panic.close();
    },
  };
  return logs;
}
