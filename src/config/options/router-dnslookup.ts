/**
 * Private options of the dnslookup router (Exim manual, "The dnslookup router").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const dnslookupOptions = {
  check_secondary_mx: { type: 'boolean', default: false, status: { refused: 'dns' } },
  check_srv: { type: 'string', default: undefined, expand: true, status: { refused: 'dns' } },
  fail_defer_domains: { type: 'list', default: undefined, expand: true, status: { refused: 'dns' } },
  ipv4_only: { type: 'string', default: undefined, status: { refused: 'dns' } },
  ipv4_prefer: { type: 'string', default: undefined, status: { refused: 'dns' } },
  mx_domains: { type: 'list', default: undefined, expand: true, status: { refused: 'dns' } },
  mx_fail_domains: { type: 'list', default: undefined, expand: true, status: { refused: 'dns' } },
  qualify_single: { type: 'boolean', default: true, status: { refused: 'dns' } },
  rewrite_headers: { type: 'boolean', default: true, status: { refused: 'dns' } },
  same_domain_copy_routing: { type: 'boolean', default: false, status: { refused: 'dns' } },
  search_parents: { type: 'boolean', default: false, status: { refused: 'dns' } },
  srv_fail_domains: { type: 'list', default: undefined, expand: true, status: { refused: 'dns' } },
  widen_domains: { type: 'list', default: undefined, status: { refused: 'dns' } },
} as const;
