/** All conditions of `${if`. To add one is to add a row to one of the groups. */
import type { ConditionRow } from '../evaluator.ts';
import { compareConditions } from './compare.ts';
import { refusedCondition } from './helpers.ts';
import { matchConditions } from './match.ts';
import { structureConditions } from './structure.ts';

/** Refused by name when a configuration is read. */
const refused: Readonly<Record<string, ConditionRow>> = {
  ldapauth: refusedCondition,
  pam: refusedCondition,
  pwcheck: refusedCondition,
  radius: refusedCondition,
  saslauthd: refusedCondition,
  inbound_srs: refusedCondition,
};

export const conditionTable: ReadonlyMap<string, ConditionRow> = new Map(
  Object.entries({ ...compareConditions, ...matchConditions, ...structureConditions, ...refused }),
);
