/**
 * Private options of the iplookup router (Exim manual, "The iplookup router").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const iplookupOptions = {
  hosts: { type: 'string', default: undefined, status: { refused: 'driver' } },
  optional: { type: 'boolean', default: false, status: { refused: 'driver' } },
  port: { type: 'integer', default: '0', status: { refused: 'driver' } },
  protocol: { type: 'string', default: undefined, status: { refused: 'driver' } },
  query: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  reroute: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  response_pattern: { type: 'string', default: undefined, status: { refused: 'driver' } },
  timeout: { type: 'time', default: '5s', status: { refused: 'driver' } },
} as const;
