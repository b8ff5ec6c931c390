/** Directory drivers by the options of an instance. */
import type { DirectoryInstance } from '../../config/model.ts';
import { existingDirectoryUsers } from '../../directory/drivers/existing-directory.ts';
import { ldapUsers } from '../../directory/drivers/ldap.ts';
import { readLdapAttributes } from '../../directory/drivers/ldap-attributes.ts';
import { passwdFilesUsers } from '../../directory/drivers/passwd-files.ts';
import type { ServerLimits } from '../../directory/drivers/servers.ts';
import { openMysql } from '../../directory/drivers/sql-mysql.ts';
import { openPgsql } from '../../directory/drivers/sql-pgsql.ts';
import { readSqlQuery, type SqlEngine } from '../../directory/drivers/sql-query.ts';
import { openSqlite } from '../../directory/drivers/sql-sqlite.ts';
import { type SqlDatabase, sqlUsers } from '../../directory/drivers/sql.ts';
import type { UserSource } from '../../directory/user-source.ts';
import { readVariables } from '../../directory/variables.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { Program } from '../program.ts';
import { expandForUser } from './mail-location.ts';
import { required } from './required.ts';

/** @param report told what is wrong with a source, once */
export function openUserSource(
  instance: DirectoryInstance,
  program: Program,
  report: (text: string) => void,
): UserSource {
  const need = <T>(value: T | undefined, option: string): T =>
    required(value, `${instance.name} directory`, option);
  /** A text that the check of the configuration has read already. */
  const checked = <T>(read: T | string, option: string): T => {
    if (typeof read === 'string') throw new Error(`${instance.name} directory: ${option}: ${read}`);
    return read;
  };
  switch (instance.driver) {
    case 'passwd_file':
      return passwdFilesUsers(need(instance.options.file, 'file'), { onProblem: report });
    case 'static': {
      const o = instance.options;
      const template = need(o.directory, 'directory');
      return existingDirectoryUsers({
        pathOf: (username) => expandForUser('directory', template, { username, extra: {} }, program),
        root: fixedPart(template),
        owner: o.use_owner,
        home: o.home === undefined,
      });
    }
    case 'sql': {
      const o = instance.options;
      const engine = need(o.engine, 'engine');
      const database = openDatabase(engine, need(o.connect, 'connect'), {
        timeoutMs: o.query_timeout,
        maxConnections: o.pool_size,
      });
      return sqlUsers(database, checked(readSqlQuery(need(o.query, 'query'), engine), 'query'));
    }
    case 'ldap': {
      const o = instance.options;
      return ldapUsers({
        servers: need(o.servers, 'servers'),
        base: checked(readVariables(need(o.base, 'base')), 'base'),
        scope: o.scope,
        filter: checked(readVariables(need(o.filter, 'filter')), 'filter'),
        attributes: checked(readLdapAttributes(o.attributes), 'attributes'),
        bindDn: o.bind_dn ?? '',
        bindPassword: o.bind_password ?? '',
        startTls: o.start_tls,
        requireCert: o.require_cert,
        caFile: o.ca_file,
        timeoutMs: o.query_timeout,
      });
    }
    default:
      return assertNever(instance);
  }
}

function openDatabase(engine: SqlEngine, connect: readonly string[], limits: ServerLimits): SqlDatabase {
  switch (engine) {
    case 'sqlite':
      return openSqlite(connect[0] ?? '', limits.timeoutMs);
    case 'pgsql':
      return openPgsql(connect, limits);
    case 'mysql':
      return openMysql(connect, limits);
    default:
      return assertNever(engine);
  }
}

/** The folder that a template names before anything varies. */
function fixedPart(template: string): string {
  const dollar = template.indexOf('$');
  const fixed = dollar < 0 ? template : template.slice(0, dollar);
  return fixed.slice(0, fixed.lastIndexOf('/')) || '/';
}
