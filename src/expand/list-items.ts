/** Writing lists inside expansions: what `${map`, `${filter` and `${sort` give has the separator of their input, unnamed. */

/** Makes the text of a list; separators inside items are doubled, and an item that begins with one has a space before it. */
export function formatItems(items: readonly string[], separator: string): string {
  let out = '';
  items.forEach((item, i) => {
    if (i > 0) out += separator;
    // A separator that follows another one at once would double it.
    if (i > 0 && (item === '' || item.startsWith(separator))) out += ' ';
    out += item.replaceAll(separator, separator + separator);
  });
  return out;
}

/** Doubles the separator within one item; the empty item becomes a space, or it would join its neighbours. */
export function quoteItem(item: string, separator: string): string {
  if (item === '') return ' ';
  return item.includes(separator) ? item.replaceAll(separator, separator + separator) : item;
}
