// The import table of docs/ARCHITECTURE.md as rules. `test/imports/check.ts` runs it, checks that it saw every module
// (without @swc/core it would silently see none) and that the fixture beside it is refused.
const ports = [
  'lookup/lookup',
  'router/router',
  'spool/spool',
  'hints/hints',
  'transport/transport',
  'directory/directory',
  'store/mail-store',
];
const port = (name) => `^src/${ports.find((p) => p.startsWith(`${name}/`))}\\.ts$`;
const folder = (name) => `^src/${name}/`;
/** dependency-cruiser names Node's modules without their prefix. */
const node = `^(node:)?(${require('node:module')
  .builtinModules.map((m) => m.replace('node:', ''))
  .join('|')})$`;

/** Folder of src/ -> what its files may import beside the folder itself. Driver folders have rows of their own. */
const table = {
  mail: [],
  protocol: [folder('mail')],
  net: [folder('mail'), node],
  smtp: [folder('mail'), folder('protocol'), folder('net'), node],
  lmtp: [folder('mail'), folder('protocol'), folder('net'), node],
  expand: [folder('mail'), port('lookup'), node],
  list: [folder('mail'), folder('expand'), port('lookup'), node],
  config: [folder('mail'), folder('expand'), folder('list'), node],
  acl: [folder('mail'), folder('expand'), folder('list'), port('lookup'), '^src/verify/verifier\\.ts$'],
  lookup: [folder('mail')],
  router: [folder('mail'), folder('expand'), folder('list'), port('lookup'), port('directory')],
  verify: [
    folder('mail'),
    folder('router'),
    folder('net'),
    folder('protocol'),
    port('transport'),
    port('hints'),
    folder('lmtp/client'),
    folder('smtp/client'),
  ],
  hints: [folder('mail')],
  retry: [folder('mail'), folder('expand')],
  rewrite: [folder('mail'), folder('expand')],
  spool: [folder('mail')],
  queue: [
    folder('mail'),
    '^src/expand/scope\\.ts$',
    port('spool'),
    folder('router'),
    port('transport'),
    port('hints'),
    folder('retry'),
    folder('dsn'),
    node,
  ],
  transport: [folder('mail')],
  dsn: [folder('mail')],
  directory: [folder('mail')],
  store: [folder('mail'), port('directory'), '^src/lmtp/server/', folder('lmtp/client'), node],
  observe: [folder('mail'), '^src/queue/events\\.ts$', node],
  cli: [folder('mail'), node],
};
const drivers = {
  router: [folder('mail'), folder('net'), folder('expand'), folder('list'), port('router'), node],
  transport: [
    folder('mail'),
    folder('net'),
    '^src/transport/[^/]+\\.ts$',
    folder('lmtp/client'),
    folder('smtp/client'),
    node,
    'node_modules/koffi',
  ],
  spool: [folder('mail'), folder('net'), port('spool'), node, 'node_modules/lmdb'],
  hints: [folder('mail'), folder('net'), port('hints'), node, 'node_modules/lmdb'],
  lookup: [
    folder('mail'),
    folder('net'),
    port('lookup'),
    node,
    'node_modules/(@types/)?(pg|mysql2|redis|ldapts)/',
  ],
  directory: [
    folder('mail'),
    folder('net'),
    '^src/directory/[^/]+\\.ts$',
    // One place for connecting to a database: places of servers, packages that may be missing, pools, deadlines.
    '^src/lookup/drivers/(ldap|ldap-query|ldap-session|mysql-pools|octets|optional-package|pgsql-pools|servers|sql-pools)\\.ts$',
    node,
    'node_modules/(@types/)?(pg|mysql2|ldapts)/',
  ],
  store: [
    folder('mail'),
    folder('net'),
    port('store'),
    '^src/store/transfer-journal\\.ts$',
    node,
    'node_modules/koffi',
    'node_modules/lmdb',
  ],
};
/** Libraries outside driver folders: one module each. */
const libraries = { expand: ['node_modules/koffi'], net: ['node_modules/koffi'] };

const test = '/contract[^/]*\\.ts$';
const row = (name, from, allowed) => ({
  name,
  severity: 'error',
  from: { path: from, pathNot: test },
  to: { pathNot: allowed },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'only-bin-imports-app',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(app|bin)/' },
      to: { path: '^src/(app|bin)/' },
    },
    ...Object.entries(table).map(([name, allowed]) => ({
      ...row(`imports-of-${name}`, folder(name), [folder(name), ...allowed, ...(libraries[name] ?? [])]),
      from: { path: folder(name), pathNot: `${test}|^src/${name}/drivers/` },
    })),
    ...Object.entries(drivers).map(([name, allowed]) =>
      row(`imports-of-${name}-drivers`, `^src/${name}/drivers/`, [`^src/${name}/drivers/`, ...allowed]),
    ),
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.test\\.ts$' },
    combinedDependencies: true,
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.cjs', '.mjs'] },
  },
};
