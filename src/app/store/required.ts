/** Options that a store cannot do without; `mailchute check` finds them before. */
export function required<T>(value: T | undefined, store: string, option: string): T {
  if (value === undefined) throw new Error(`${store} store: ${option} is not set`);
  return value;
}
