/**
 * Options of every transport (Exim manual, "Generic options for transports").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const transportOptions = {
  body_only: { type: 'boolean', default: false, status: { refused: 'transport' } },
  current_directory: { type: 'string', default: undefined, expand: true, status: { refused: 'localUser' } },
  debug_print: { type: 'string', default: undefined, expand: true, status: { ignored: 'debug' } },
  delivery_date_add: { type: 'boolean', default: false, status: { refused: 'transport' } },
  disable_logging: { type: 'boolean', default: false, status: { refused: 'logging' } },
  envelope_to_add: { type: 'boolean', default: false, status: { refused: 'transport' } },
  event_action: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  group: { type: 'group', default: undefined, expand: true, status: { ignored: 'oneUser' } },
  headers_add: {
    type: 'list',
    default: undefined,
    expand: true,
    repeat: '\n',
    status: { refused: 'transport' },
  },
  headers_only: { type: 'boolean', default: false, status: { refused: 'transport' } },
  headers_remove: {
    type: 'list',
    default: undefined,
    expand: true,
    repeat: ':',
    status: { refused: 'transport' },
  },
  headers_rewrite: { type: 'string', default: undefined, repeat: ':', status: { refused: 'transport' } },
  home_directory: { type: 'string', default: undefined, expand: true, status: { refused: 'localUser' } },
  initgroups: { type: 'boolean', default: false, status: { ignored: 'oneUser' } },
  max_parallel: { type: 'integer', default: undefined, expand: true, status: { refused: 'transport' } },
  message_size_limit: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  rcpt_include_affixes: { type: 'boolean', default: false, status: { refused: 'transport' } },
  retry_use_local_part: { type: 'boolean', default: undefined, status: { refused: 'transport' } },
  return_path: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  return_path_add: { type: 'boolean', default: false, status: { refused: 'transport' } },
  shadow_condition: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  shadow_transport: { type: 'string', default: undefined, status: { refused: 'transport' } },
  transport_filter: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  transport_filter_timeout: { type: 'time', default: '5m', status: { ignored: 'noFilter' } },
  user: { type: 'user', default: undefined, expand: true, status: { ignored: 'oneUser' } },
} as const;
