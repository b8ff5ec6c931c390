/** Options that an instance cannot do without; `mailchute check` finds them before. @param whose `homes directory` */
export function required<T>(value: T | undefined, whose: string, option: string): T {
  if (value === undefined) throw new Error(`${whose}: ${option} is not set`);
  return value;
}

/** What an option names: a user, a group. */
export function known<T>(value: T | undefined, whose: string, what: string): T {
  if (value === undefined) throw new Error(`${whose}: there is no ${what} on this machine`);
  return value;
}
