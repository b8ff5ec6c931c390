/** How long answers of SQL servers are kept: those that only read, for a moment. */

const keepMs = 1000;

/** For {@link LookupDriver.keepMs}: a query that does not begin as a SELECT may change data, and is sent each time. */
export function keepsSelects(query: string): number {
  const bare = query.replace(/^\s*servers\s*=[^;]*;/, '');
  return /^\s*select\b/i.test(bare) && !/\bfor\s+update\b|\bnextval\b|\binto\b|;\s*\S/i.test(bare)
    ? keepMs
    : 0;
}
