/** All conditions of `${if`. To add one is to add a row to one of the groups. */
import type { ConditionRow } from '../evaluator.ts';
import { compareConditions } from './compare.ts';
import { refusedCondition } from './helpers.ts';
import { matchConditions } from './match.ts';
import { structureConditions } from './structure.ts';

/** Conditions of Exim that are refused by name when a configuration is read. */
export const refusedConditions: readonly string[] = ['ldapauth', 'pam', 'pwcheck', 'radius', 'saslauthd'];

export const conditionTable: ReadonlyMap<string, ConditionRow> = new Map(
  Object.entries<ConditionRow>({ ...compareConditions, ...matchConditions, ...structureConditions }).concat(
    refusedConditions.map((name) => [name, refusedCondition]),
  ),
);
