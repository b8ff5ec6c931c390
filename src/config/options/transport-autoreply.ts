/**
 * Private options of the autoreply transport (Exim manual, "The autoreply transport").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const autoreplyOptions = {
  bcc: { type: 'string', default: undefined, expand: true, status: 'works' },
  cc: { type: 'string', default: undefined, expand: true, status: 'works' },
  file: { type: 'string', default: undefined, expand: true, status: 'works' },
  file_expand: { type: 'boolean', default: false, status: 'works' },
  file_optional: { type: 'boolean', default: false, status: 'works' },
  from: { type: 'string', default: undefined, expand: true, status: 'works' },
  headers: { type: 'string', default: undefined, expand: true, status: 'works' },
  log: { type: 'string', default: undefined, expand: true, status: 'works' },
  mode: { type: 'octal', default: '0600', status: 'works' },
  never_mail: { type: 'list', default: undefined, expand: true, status: 'works' },
  once: { type: 'string', default: undefined, expand: true, status: 'works' },
  once_file_size: { type: 'integer', default: '0', status: 'works' },
  once_repeat: { type: 'string', default: undefined, expand: true, status: 'works' },
  reply_to: { type: 'string', default: undefined, expand: true, status: 'works' },
  return_message: { type: 'boolean', default: false, status: 'works' },
  subject: { type: 'string', default: undefined, expand: true, status: 'works' },
  text: { type: 'string', default: undefined, expand: true, status: 'works' },
  to: { type: 'string', default: undefined, expand: true, status: 'works' },
} as const;
