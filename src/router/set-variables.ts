/** The router option `set`: `$r_...` variables (Exim manual, "Generic options for routers"). */
import { expandText } from '../expand/expand.ts';
import type { AddressFacts, ExpandScope, ExtraValue } from '../expand/scope.ts';
import { parseSet, setItems } from '../mail/set-items.ts';

/**
 * Sets the variables one after the other; later ones see the earlier. False: an expansion was forced to fail. A text says what went
 * wrong.
 */
export async function setVariables(
  settings: readonly string[],
  scope: ExpandScope & { readonly address: AddressFacts },
): Promise<boolean | string> {
  const variables = new Map<string, ExtraValue>(scope.address.routerVariables);
  scope.address.routerVariables = variables;
  for (const item of settings.flatMap(setItems)) {
    const set = parseSet(item);
    if (set === undefined) return `bad "set" item "${item}"`;
    const expanded = await expandText(set.value, scope);
    if (expanded.kind === 'forced-fail') return false;
    if (expanded.kind !== 'ok') return `expansion of "${set.value}" failed: ${expanded.reason}`;
    variables.set(set.name, { text: expanded.text, tainted: expanded.tainted });
  }
  return true;
}
