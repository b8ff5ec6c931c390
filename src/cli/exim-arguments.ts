/** The part of Exim's command line that is understood (Exim manual, "The Exim command line"). */

export type EximMode = 'version' | 'daemon' | 'queue-run';

export interface EximArguments {
  readonly mode: EximMode;
  /** -C: the configuration; undefined for the usual one. */
  readonly configFile?: string;
  /** -DNAME=value. */
  readonly defines: ReadonlyMap<string, string>;
  /** -bdf, -bd: whether the daemon stays in the foreground. */
  readonly foreground: boolean;
  /** -q<time>: interval between queue runs in milliseconds; undefined for none. */
  readonly queueIntervalMs?: number;
  /** -oX: ports and interfaces in place of daemon_smtp_ports and local_interfaces. */
  readonly listen?: string;
  /** -oP: in place of pid_file_path. */
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
  let configFile: string | undefined;
  let queueIntervalMs: number | undefined;
  let listen: string | undefined;
  let pidFile: string | undefined;
  const defines = new Map<string, string>();
  const usage = (text: string): ParsedArguments => ({ kind: 'usage', text });

  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    /** The rest of this word, or the next one: Exim takes `-C file` and `-Cfile`. */
    const value = (option: string): string | undefined =>
      word.length > option.length ? word.slice(option.length) : words[++i];
    if (word === '-bV') mode = 'version';
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
      const m = /^-D([A-Z]\w*)(?:\s*=\s*(.*))?$/s.exec(word);
      if (m === null)
        return usage(
          `malformed macro definition "${word}": expected -DNAME=value with a name that begins with a capital`,
        );
      defines.set(m[1] ?? '', m[2] ?? '');
    } else if (word.startsWith('-q')) {
      if (word === '-q') mode ??= 'queue-run';
      else {
        const interval = parseInterval(word.slice(2));
        if (interval === undefined || interval <= 0)
          return usage(`malformed queue interval in "${word}": expected a time such as -q30m`);
        queueIntervalMs = interval;
      }
    } else return usage(`option "${word}" is not supported`);
  }
  if (mode === undefined) {
    if (queueIntervalMs === undefined) return usage('nothing to do: give -bd, -bdf, -q or -bV');
    mode = 'daemon';
  }
  return {
    kind: 'ok',
    arguments: {
      mode,
      defines,
      foreground,
      ...(configFile === undefined ? {} : { configFile }),
      ...(queueIntervalMs === undefined ? {} : { queueIntervalMs }),
      ...(listen === undefined ? {} : { listen }),
      ...(pidFile === undefined ? {} : { pidFile }),
    },
  };
}
