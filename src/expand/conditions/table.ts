/** All conditions of `${if`. To add one is to add a row to one of the groups. */
import type { ConditionRow } from '../evaluator.ts';
import { compareConditions } from './compare.ts';
import { refusedCondition } from './helpers.ts';
import { matchConditions } from './match.ts';
import { structureConditions } from './structure.ts';

const noAuthentication = 'passwords cannot be checked with an outside service';

/** Refused by name when a configuration is read. */
const refused: Readonly<Record<string, ConditionRow>> = {
  ldapauth: refusedCondition(noAuthentication),
  pam: refusedCondition(noAuthentication),
  pwcheck: refusedCondition(noAuthentication),
  radius: refusedCondition(noAuthentication),
  saslauthd: refusedCondition(noAuthentication),
  inbound_srs: refusedCondition('there is no SRS'),
};

export const conditionTable: ReadonlyMap<string, ConditionRow> = new Map(
  Object.entries({ ...compareConditions, ...matchConditions, ...structureConditions, ...refused }),
);
