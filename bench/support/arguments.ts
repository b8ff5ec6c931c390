// Command lines of the bench programs: `--name value`, with the defaults saying which names exist and of what type.

type Value = string | number | boolean;

/** Reads `--name value` words over `defaults`; an unknown name or a malformed number ends the program with a message. */
export function readArguments<T extends Record<string, Value>>(
  defaults: T,
  words: readonly string[] = process.argv.slice(2),
): T {
  const values: Record<string, Value> = { ...defaults };
  for (let i = 0; i < words.length; i++) {
    const name = (words[i] ?? '').replace(/^--/, '');
    const known = defaults[name];
    if (known === undefined)
      fail(
        `unknown option ${words[i]}; known: ${Object.keys(defaults)
          .map((k) => `--${k}`)
          .join(' ')}`,
      );
    if (typeof known === 'boolean') {
      values[name] = true;
      continue;
    }
    const text = words[++i];
    if (text === undefined) fail(`--${name} needs a value`);
    const value = typeof known === 'number' ? Number(text) : text;
    if (typeof value === 'number' && !Number.isFinite(value)) fail(`--${name}: "${text}" is not a number`);
    values[name] = value;
  }
  return values as T;
}

export type Target =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly noDelay: true };

/** `127.0.0.1:2525`, `[::1]:2525` or `unix:/path`; anything that is not loopback is refused. */
export function readTarget(text: string): Target {
  if (text.startsWith('unix:')) return { path: text.slice(5) };
  const m = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d+)$/.exec(text);
  if (m === null) fail(`expected a loopback host:port or unix:/path, got "${text}"`);
  return { host: (m[1] ?? '').replace(/[[\]]/g, ''), port: Number(m[2]), noDelay: true };
}

function fail(text: string): never {
  console.error(text);
  process.exit(2);
}
