/**
 * Private options of the dnslookup router (Exim manual, "The dnslookup router").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const dnslookupOptions = {
  check_secondary_mx: { type: 'boolean', default: false, status: 'works' },
  check_srv: { type: 'string', default: undefined, expand: true, status: 'works' },
  fail_defer_domains: { type: 'list', default: undefined, expand: true, status: 'works' },
  ipv4_only: { type: 'string', default: undefined, status: 'works' },
  ipv4_prefer: { type: 'string', default: undefined, status: 'works' },
  mx_domains: { type: 'list', default: undefined, expand: true, status: 'works' },
  mx_fail_domains: { type: 'list', default: undefined, expand: true, status: 'works' },
  qualify_single: { type: 'boolean', default: true, status: { ignored: 'wholeNames' } },
  rewrite_headers: { type: 'boolean', default: true, status: { ignored: 'wholeNames' } },
  same_domain_copy_routing: { type: 'boolean', default: false, status: { ignored: 'speed' } },
  search_parents: { type: 'boolean', default: false, status: { only: ['false'], refused: 'resolverSearch' } },
  srv_fail_domains: { type: 'list', default: undefined, expand: true, status: 'works' },
  widen_domains: { type: 'list', default: undefined, status: { refused: 'resolverSearch' } },
} as const;
