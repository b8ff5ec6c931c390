/**
 * Private options of the manualroute router (Exim manual, "The manualroute router").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const manualrouteOptions = {
  host_all_ignored: {
    type: 'string',
    default: 'defer',
    oneOf: ['decline', 'defer', 'fail', 'freeze', 'pass'],
    status: 'works',
  },
  host_find_failed: {
    type: 'string',
    default: 'freeze',
    oneOf: ['decline', 'defer', 'fail', 'freeze', 'ignore', 'pass'],
    status: 'works',
  },
  hosts_randomize: { type: 'boolean', default: false, status: 'works' },
  route_data: { type: 'string', default: undefined, expand: true, status: 'works' },
  route_list: { type: 'string', default: undefined, status: 'works' },
  same_domain_copy_routing: { type: 'boolean', default: false, status: { ignored: 'speed' } },
} as const;
