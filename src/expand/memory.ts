/**
 * What an expansion leaves behind for later ones: `$runrc`, `$prvscheck_result`, `$srs_recipient`, cached `${readsocket`
 * answers. Exim keeps these for the process, which serves one connection or delivers one message; here they live as long as
 * the address, message and connection at hand.
 */
import type { ExpandScope, ExtraValue } from './scope.ts';

/** Values one holder keeps; the oldest goes first. */
const maxKept = 64;

let hasRun = false;
const kept = new WeakMap<object, Map<string, ExtraValue>>();

/** From the narrowest to the widest; the scope itself where there is nothing else. */
function holders(scope: ExpandScope): readonly object[] {
  const found = [scope.address, scope.message, scope.connection].filter((h) => h !== undefined);
  return found.length > 0 ? found : [scope];
}

/** `$value` outside of any item: the output of the last `${run`. Costs nothing where no command has run. */
export function lastOutput(scope: ExpandScope): ExtraValue | undefined {
  return hasRun ? recall(scope, 'value') : undefined;
}

/** Keeps a value for later expansions; undefined forgets it. */
export function remember(scope: ExpandScope, name: string, value: ExtraValue | undefined): void {
  if (name === 'value') hasRun = true;
  for (const holder of holders(scope)) {
    const values = kept.get(holder) ?? new Map<string, ExtraValue>();
    kept.set(holder, values);
    values.delete(name);
    if (value === undefined) continue;
    values.set(name, value);
    const oldest = values.keys().next();
    if (values.size > maxKept && oldest.done !== true) values.delete(oldest.value);
  }
}

/** What the narrowest holder keeps under that name. */
export function recall(scope: ExpandScope, name: string): ExtraValue | undefined {
  for (const holder of holders(scope)) {
    const value = kept.get(holder)?.get(name);
    if (value !== undefined) return value;
  }
  return undefined;
}
