/** Ends a `switch` over a closed union: a compile error where a case was forgotten, a throw where the types lied. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
