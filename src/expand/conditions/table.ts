/** All conditions of `${if`. To add one is to add a row to one of the groups. */
import type { ConditionRow } from '../evaluator.ts';
import { compareConditions } from './compare.ts';
import { refusedCondition } from './helpers.ts';
import { matchConditions } from './match.ts';
import { passwordConditions } from './password.ts';
import { structureConditions } from './structure.ts';

/** Conditions of Exim that are refused by name when a configuration is read, and why. */
export const refusedConditions: Readonly<Record<string, string>> = {
  pam: 'PAM loads foreign code into the program; ${if saslauthd asks PAM in a process of its own',
};

const refused = Object.entries(refusedConditions).map(
  ([name, why]) => [name, refusedCondition(why)] as const,
);

export const conditionTable: ReadonlyMap<string, ConditionRow> = new Map([
  ...Object.entries({
    ...compareConditions,
    ...matchConditions,
    ...structureConditions,
    ...passwordConditions,
  }),
  ...refused,
]);
