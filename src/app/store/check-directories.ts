/** What is wrong with the texts of directories (variables, queries, filters), told when the file is read and not when mail comes. */
import type { CheckedInstance } from '../../config/checked.ts';
import { filterProblem, readLdapUri } from '../../directory/drivers/ldap.ts';
import { readLdapAttributes } from '../../directory/drivers/ldap-attributes.ts';
import { readSqlQuery, type SqlEngine } from '../../directory/drivers/sql-query.ts';
import { usernameRule } from '../../directory/username.ts';
import { readVariables } from '../../directory/variables.ts';
import type { Diagnostic } from '../../mail/diagnostic.ts';
import { splitList } from '../../mail/list-text.ts';

export function brokenDirectories(directories: readonly CheckedInstance[]): Diagnostic[] {
  return directories.flatMap((directory) =>
    Object.entries(checks).flatMap(([option, check]) =>
      (directory.given.get(option)?.sources ?? []).flatMap(({ text, position }) => {
        const problem = check(text, directory);
        const message = `${directory.name} directory: ${option}: ${problem}`;
        return problem === undefined ? [] : [{ severity: 'error', position, message } as const];
      }),
    ),
  );
}

/** By option: what is wrong with its text. */
const checks: Readonly<Record<string, (text: string, directory: CheckedInstance) => string | undefined>> = {
  username_format: (text) => problemOf(usernameRule({ format: text })),
  file: (text) => firstProblem(text, (file) => problemOf(readVariables(file))),
  query(text, { given }) {
    const engine = given.get('engine')?.value;
    return typeof engine === 'string' ? problemOf(readSqlQuery(text, engine as SqlEngine)) : undefined;
  },
  base: (text) => problemOf(readVariables(text)),
  filter: filterProblem,
  attributes: (text) => problemOf(readLdapAttributes(splitList(text))),
  servers: (text) => firstProblem(text, (uri) => problemOf(readLdapUri(uri))),
};

function problemOf(read: unknown): string | undefined {
  return typeof read === 'string' ? read : undefined;
}

function firstProblem(list: string, check: (item: string) => string | undefined): string | undefined {
  for (const item of splitList(list)) {
    const problem = check(item);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
