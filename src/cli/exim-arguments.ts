/** The part of Exim's command line that is understood (Exim manual, "The Exim command line"). */
import { addDefine } from './define.ts';

export type EximMode =
  | 'version'
  | 'daemon'
  | 'queue-run'
  | 'print'
  | 'expand'
  | 'test-rewrite'
  | 'test-retry'
  | 'address-test'
  | 'verify-recipient'
  | 'verify-sender';

export interface EximArguments {
  readonly mode: EximMode;
  /** -C: the configuration, or several parted by colons of which the first that exists is read; undefined for the usual one. */
  readonly configFile?: string;
  /** -n: `-bP` prints values without their names. */
  readonly withoutNames: boolean;
  /** What stands after the options: what `-bP` is asked for, what `-be` expands, the addresses of `-bt` and `-bv`. */
  readonly words: readonly string[];
  /** -f: the sender, `<>` without brackets; only `-brt`, `-bt` and `-bv` look at it. */
  readonly sender?: string;
  /** -bem: the message that expansions may look at. */
  readonly messageFile?: string;
  /** -DNAME=value. */
  readonly defines: ReadonlyMap<string, string>;
  /** -bdf, -bd: whether the daemon stays in the foreground. */
  readonly foreground: boolean;
  /** -q<time>: interval between queue runs in milliseconds; undefined for none. */
  readonly queueIntervalMs?: number;
  /** -oX: ports and interfaces in place of daemon_smtp_ports and local_interfaces. */
  readonly listen?: string;
  /** -oP: in place of pid_file_path. With -oX no pid file is written without it. */
  readonly pidFile?: string;
}

export type ParsedArguments =
  | { readonly kind: 'ok'; readonly arguments: EximArguments }
  | { readonly kind: 'usage'; readonly text: string };

/**
 * Reads the words after the program's name. An option that is not understood is named, never skipped.
 *
 * @param parseInterval reads a time such as `1h30m` into milliseconds; undefined for a text that is none
 */
export function parseEximArguments(
  words: readonly string[],
  parseInterval: (text: string) => number | undefined,
): ParsedArguments {
  let mode: EximMode | undefined;
  let foreground = false;
  let queueOnce = false;
  let configFile: string | undefined;
  let queueIntervalMs: number | undefined;
  let listen: string | undefined;
  let pidFile: string | undefined;
  let messageFile: string | undefined;
  let sender: string | undefined;
  let withoutNames = false;
  let rest: readonly string[] = [];
  const defines = new Map<string, string>();
  const usage = (text: string): ParsedArguments => ({ kind: 'usage', text });

  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    /** The rest of this word, or the next one: Exim takes `-C file` and `-Cfile`. */
    const value = (option: string): string | undefined =>
      word.length > option.length ? word.slice(option.length) : words[++i];
    if (!word.startsWith('-') || word === '--') {
      rest = words.slice(word === '--' ? i + 1 : i);
      break;
    }
    if (word === '-bV') mode = 'version';
    else if (word === '-bP') mode ??= 'print';
    else if (word === '-be') mode ??= 'expand';
    else if (word === '-brw' || word === '-brt') {
      mode ??= word === '-brw' ? 'test-rewrite' : 'test-retry';
      rest = words.slice(i + 1);
      break;
    } else if (word === '-bt') mode ??= 'address-test';
    else if (word === '-bv') mode ??= 'verify-recipient';
    else if (word === '-bvs') mode ??= 'verify-sender';
    else if (word.startsWith('-f')) {
      sender = value('-f')?.replace(/^<(.*)>$/s, '$1');
      if (sender === undefined) return usage('option -f needs a sender');
    } else if (word === '-bem') {
      mode ??= 'expand';
      messageFile = words[++i];
      if (messageFile === undefined) return usage('option -bem needs a file');
    } else if (word === '-n') withoutNames = true;
    else if (word === '-bd') mode ??= 'daemon';
    else if (word === '-bdf') {
      mode ??= 'daemon';
      foreground = true;
    } else if (word.startsWith('-oX') || word.startsWith('-oP') || word.startsWith('-C')) {
      const option = word.startsWith('-C') ? '-C' : word.slice(0, 3);
      const text = value(option);
      if (text === undefined || text === '') return usage(`option ${option} needs a value`);
      if (option === '-C') configFile = text;
      else if (option === '-oX') listen = text;
      else pidFile = text;
    } else if (word.startsWith('-D')) {
      const wrong = addDefine(word, defines);
      if (wrong !== undefined) return usage(wrong);
    } else if (word.startsWith('-q')) {
      if (word === '-q') queueOnce = true;
      else {
        const interval = parseInterval(word.slice(2));
        if (interval === undefined || interval <= 0)
          return usage(`malformed queue interval in "${word}": expected a time such as -q30m`);
        queueIntervalMs = interval;
      }
    } else return usage(`option "${word}" is not supported`);
  }
  const takesWords = mode !== undefined && !['version', 'daemon', 'queue-run'].includes(mode);
  if (rest[0] !== undefined && !takesWords)
    return usage(`"${rest[0]}" is not understood: messages are taken by SMTP only`);
  if (queueOnce) {
    if (mode === 'daemon' || queueIntervalMs !== undefined)
      return usage('-q without a time is one queue run, and goes with no daemon');
    mode ??= 'queue-run';
  }
  if (mode === undefined)
    return usage(
      queueIntervalMs === undefined
        ? 'nothing to do: give -bd, -bdf, -q, -bP or -bV'
        : '-q with a time goes with -bd or -bdf: a daemon that only runs the queue is not supported',
    );
  if (sender !== undefined && mode !== 'test-retry' && mode !== 'address-test' && !mode.startsWith('verify-'))
    return usage('-f goes with -brt, -bt and -bv only');
  if (mode !== 'daemon' && (queueIntervalMs ?? listen ?? pidFile) !== undefined)
    return usage('-q with a time, -oX and -oP go with -bd or -bdf');
  return {
    kind: 'ok',
    arguments: {
      mode,
      defines,
      foreground,
      withoutNames,
      words: rest,
      ...(configFile === undefined ? {} : { configFile }),
      ...(messageFile === undefined ? {} : { messageFile }),
      ...(sender === undefined ? {} : { sender }),
      ...(queueIntervalMs === undefined ? {} : { queueIntervalMs }),
      ...(listen === undefined ? {} : { listen }),
      ...(pidFile === undefined ? {} : { pidFile }),
    },
  };
}
