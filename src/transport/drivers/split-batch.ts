import { sameDomain } from '../../mail/address.ts';
import type { Batch } from '../transport.ts';

/**
 * Positions of a batch's recipients in groups that one transaction may carry, in order: at most `max` each (Exim:
 * `max_rcpt`, `batch_max`; Infinity for no bound) and of one domain where `multiDomain` is false. A batch that fits is one group.
 */
export function splitBatch(batch: Batch, max: number, multiDomain: boolean): readonly (readonly number[])[] {
  const groups: number[][] = [];
  batch.recipients.forEach(({ address }, position) => {
    const group = groups.find((g) => {
      if (g.length >= max) return false;
      const first = batch.recipients[g[0] ?? 0];
      return multiDomain || (first !== undefined && sameDomain(first.address.domain, address.domain));
    });
    if (group === undefined) groups.push([position]);
    else group.push(position);
  });
  return groups;
}

/** A filter for the recipients at ascending positions. */
export function among(positions: readonly number[]): (recipient: unknown, position: number) => boolean {
  const wanted = new Set(positions);
  return (_, position) => wanted.has(position);
}
