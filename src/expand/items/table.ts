/** All items: `${name...}`. To add one is to add a row to one of the groups. */
import type { ItemRow } from '../evaluator.ts';
import { batvItems } from './batv.ts';
import { certextract } from './certextract.ts';
import { chooseItems } from './choose.ts';
import { extractItems } from './extract.ts';
import { refusedItem } from './helpers.ts';
import { loopItems } from './loop.ts';
import { readsocket } from './readsocket.ts';
import { run } from './run.ts';
import { textItems } from './text.ts';

/** Items of Exim that are refused by name when a configuration is read, each with why. */
export const refusedItems: Readonly<Record<string, string>> = {
  perl: 'there is no Perl interpreter',
  dlfunc: 'C functions cannot be loaded',
};

export const itemTable: ReadonlyMap<string, ItemRow> = new Map(
  Object.entries<ItemRow>({
    ...chooseItems,
    ...textItems,
    ...extractItems,
    ...loopItems,
    ...batvItems,
    run,
    readsocket,
    certextract,
  }).concat(Object.entries(refusedItems).map(([name, why]) => [name, refusedItem(why)])),
);
