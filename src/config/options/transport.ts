/**
 * Options of every transport (Exim manual, "Generic options for transports").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const transportOptions = {
  body_only: { type: 'boolean', default: false, status: 'works' },
  current_directory: { type: 'string', default: undefined, expand: true, status: 'works' },
  debug_print: { type: 'string', default: undefined, expand: true, status: { ignored: 'debug' } },
  delivery_date_add: { type: 'boolean', default: false, status: 'works' },
  disable_logging: { type: 'boolean', default: false, status: 'works' },
  envelope_to_add: { type: 'boolean', default: false, status: 'works' },
  event_action: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  group: { type: 'group', default: undefined, expand: true, status: 'works' },
  headers_add: {
    type: 'list',
    default: undefined,
    expand: true,
    repeat: '\n',
    status: 'works',
  },
  headers_only: { type: 'boolean', default: false, status: 'works' },
  headers_remove: {
    type: 'list',
    default: undefined,
    expand: true,
    repeat: ':',
    status: 'works',
  },
  headers_rewrite: { type: 'string', default: undefined, repeat: ':', status: 'works' },
  home_directory: { type: 'string', default: undefined, expand: true, status: 'works' },
  initgroups: { type: 'boolean', default: false, status: 'works' },
  max_parallel: { type: 'integer', default: undefined, expand: true, status: { refused: 'transport' } },
  message_size_limit: { type: 'string', default: undefined, expand: true, status: 'works' },
  rcpt_include_affixes: { type: 'boolean', default: false, status: 'works' },
  retry_use_local_part: { type: 'boolean', default: undefined, status: 'works' },
  return_path: { type: 'string', default: undefined, expand: true, status: 'works' },
  return_path_add: { type: 'boolean', default: false, status: 'works' },
  shadow_condition: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  shadow_transport: { type: 'string', default: undefined, status: { refused: 'transport' } },
  transport_filter: {
    type: 'string',
    default: undefined,
    expand: true,
    words: ['$pipe_addresses'],
    status: 'works',
  },
  transport_filter_timeout: { type: 'time', default: '5m', status: 'works' },
  user: { type: 'user', default: undefined, expand: true, status: 'works' },
} as const;
