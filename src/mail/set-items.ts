/** The text of the router option `set` (Exim manual, "Generic options for routers"). */
import { splitList } from './list-text.ts';

/** `r_name = value`; undefined for what is none. */
export function parseSet(item: string): { readonly name: string; readonly value: string } | undefined {
  const found = /^r_([A-Za-z0-9_]+)\s*=\s*([\s\S]*)$/.exec(item.trim());
  return found === null ? undefined : { name: found[1] ?? '', value: found[2] ?? '' };
}

/** The items of one setting: parted by semicolons where it names no other separator. */
export function setItems(text: string): string[] {
  return splitList(/^\s*<[^\w\s]/.test(text) ? text : `<;${text}`).filter((item) => item !== '');
}
