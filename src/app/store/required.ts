/** Options that a store cannot do without; `mailchute check` finds them before. */
export function required<T>(value: T | undefined, store: string, option: string): T {
  if (value === undefined) throw new Error(`${store} store: ${option} is not set`);
  return value;
}

/** What an option names: a user, a group. */
export function known<T>(value: T | undefined, store: string, what: string): T {
  if (value === undefined) throw new Error(`${store} store: there is no such ${what}`);
  return value;
}
