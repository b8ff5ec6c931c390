/** Private options of the directory driver `ldap`. */
export const ldapOptions = {
  /** `ldap://host:port`, `ldaps://...`, `ldapi:///path`: a list, so with another separator than the colon. */
  servers: { type: 'list', default: undefined, status: 'works' },
  base: { type: 'string', default: undefined, status: 'works' },
  scope: { type: 'string', default: 'sub', oneOf: ['base', 'one', 'sub'], status: 'works' },
  /** With `%u %n %d`, escaped by RFC 4515. */
  filter: { type: 'string', default: undefined, status: 'works' },
  /** Dovecot's user_attrs: `attribute=field`, `=field=text`. */
  attributes: {
    type: 'list',
    default: 'homeDirectory=home : uidNumber=uid : gidNumber=gid',
    status: 'works',
  },
  bind_dn: { type: 'string', default: undefined, status: 'works' },
  bind_password: { type: 'string', default: undefined, status: 'works' },
  start_tls: { type: 'boolean', default: false, status: 'works' },
  require_cert: { type: 'boolean', default: true, status: 'works' },
  ca_file: { type: 'string', default: undefined, status: 'works' },
  /** For a whole question, connecting and binding included. */
  query_timeout: { type: 'time', default: '5s', status: 'works' },
} as const;
