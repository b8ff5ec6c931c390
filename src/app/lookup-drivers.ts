/** Every lookup driver, set up as the main options say. */
import type { MainOptions } from '../config/model.ts';
import { createCdb } from '../lookup/drivers/cdb.ts';
import { createDnsdb } from '../lookup/drivers/dnsdb.ts';
import { createDsearch } from '../lookup/drivers/dsearch.ts';
import { createJson } from '../lookup/drivers/json.ts';
import { createLdap } from '../lookup/drivers/ldap.ts';
import type { LdapOptions } from '../lookup/drivers/ldap-session.ts';
import { createLsearch } from '../lookup/drivers/lsearch.ts';
import { createMysql } from '../lookup/drivers/mysql.ts';
import { createPasswd } from '../lookup/drivers/passwd.ts';
import { createPgsql } from '../lookup/drivers/pgsql.ts';
import { createRedis } from '../lookup/drivers/redis.ts';
import { createSqlite } from '../lookup/drivers/sqlite.ts';
import {
  createIplsearch,
  createNwildlsearch,
  createWildlsearch,
  type WildServices,
} from '../lookup/drivers/wildlsearch.ts';
import { createDnsClient, type DnsClient } from '../net/dns/client.ts';
import { resolverFile } from '../net/dns/resolver-file.ts';
import type { LookupDriver } from '../lookup/lookup.ts';

/** @param wild what the keys of wildlsearch files need */
export function makeLookupDrivers(
  options: MainOptions,
  wild: WildServices,
  dns: DnsClient,
): readonly LookupDriver[] {
  return [
    createLsearch(),
    createWildlsearch(wild),
    createNwildlsearch(wild),
    createIplsearch(),
    createDsearch(),
    createPasswd(),
    createJson(),
    createCdb(),
    createDnsdb({
      client: dns,
      cnameLoops: options.dns_cname_loops,
      csaParents: options.dns_csa_search_limit,
    }),
    createSqlite({ file: options.sqlite_dbfile, lockTimeoutMs: options.sqlite_lock_timeout * 1000 }),
    createPgsql(options.pgsql_servers ?? []),
    createMysql(options.mysql_servers ?? []),
    createRedis(options.redis_servers ?? []),
    ...createLdap(ldapOptions(options)),
  ];
}

/** For lookups and for the condition `ldapauth`. */
export function ldapOptions(options: MainOptions): LdapOptions {
  return {
    defaultServers: options.ldap_default_servers ?? [],
    caCertFile: options.ldap_ca_cert_file,
    certFile: options.ldap_cert_file,
    certKey: options.ldap_cert_key,
    requireCert: options.ldap_require_cert,
    startTls: options.ldap_start_tls,
  };
}

/** Asks the machine's resolvers, as often and as long as `dns_retry` and `dns_retrans` say where they are set. */
export function makeDnsClient({ dns_retrans, dns_retry }: MainOptions): DnsClient {
  const file = resolverFile();
  return createDnsClient({
    settings: () => ({
      ...file(),
      ...(dns_retrans > 0 ? { timeoutMs: dns_retrans } : {}),
      ...(dns_retry > 0 ? { attempts: dns_retry } : {}),
    }),
  });
}
