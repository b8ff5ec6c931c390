/**
 * Private options of the autoreply transport (Exim manual, "The autoreply transport").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const autoreplyOptions = {
  bcc: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  cc: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  file: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  file_expand: { type: 'boolean', default: false, status: { refused: 'driver' } },
  file_optional: { type: 'boolean', default: false, status: { refused: 'driver' } },
  from: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  headers: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  log: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  mode: { type: 'octal', default: '0600', status: { refused: 'driver' } },
  never_mail: { type: 'list', default: undefined, expand: true, status: { refused: 'driver' } },
  once: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  once_file_size: { type: 'integer', default: '0', status: { refused: 'driver' } },
  once_repeat: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  reply_to: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  return_message: { type: 'boolean', default: false, status: { refused: 'driver' } },
  subject: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  text: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  to: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
} as const;
