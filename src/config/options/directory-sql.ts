/** Private options of the directory driver `sql`. */
export const sqlOptions = {
  engine: { type: 'string', default: undefined, oneOf: ['sqlite', 'pgsql', 'mysql'], status: 'works' },
  /** sqlite: a file; else servers as in `pgsql_servers` and `mysql_servers`. */
  connect: { type: 'list', default: undefined, status: 'works' },
  /** With `:user`, `:username` or `:local_part`, `:domain`; never expanded. */
  query: { type: 'string', default: undefined, status: 'works' },
  /** For a whole question, waiting for a connection included. */
  query_timeout: { type: 'time', default: '5s', status: 'works' },
  /** Connections to one server. */
  pool_size: { type: 'integer', default: '8', status: 'works' },
} as const;
