/** All items: `${name...}`. To add one is to add a row to one of the groups. */
import type { ItemRow } from '../evaluator.ts';
import { chooseItems } from './choose.ts';
import { extractItems } from './extract.ts';
import { refusedItem } from './helpers.ts';
import { loopItems } from './loop.ts';
import { textItems } from './text.ts';

/** Refused by name when a configuration is read. */
const refused: Readonly<Record<string, ItemRow>> = {
  run: refusedItem('commands are not run from expansions'),
  perl: refusedItem('there is no Perl interpreter'),
  dlfunc: refusedItem('C functions cannot be loaded'),
  readsocket: refusedItem('sockets are not read from expansions'),
  certextract: refusedItem('there are no certificate variables'),
  authresults: refusedItem('there are no authentication results'),
  prvs: refusedItem('there is no BATV'),
  prvscheck: refusedItem('there is no BATV'),
  srs_encode: refusedItem('there is no SRS'),
};

export const itemTable: ReadonlyMap<string, ItemRow> = new Map(
  Object.entries({ ...chooseItems, ...textItems, ...extractItems, ...loopItems, ...refused }),
);
