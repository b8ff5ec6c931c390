/**
 * Options of `begin stores`, the one section that Exim does not have: LMTP servers that deliver into mailboxes of this
 * machine. Written like drivers of Exim's sections.
 */

/** Of every store. */
export const storeOptions = {
  debug_print: { type: 'string', default: undefined, expand: true, status: { ignored: 'debug' } },
  /** UNIX sockets to listen on. */
  sockets: { type: 'list', default: undefined, status: 'works' },
  socket_mode: { type: 'octal', default: '0660', status: 'works' },
  /** TCP addresses with port: `127.0.0.1:24`, `[::1]:24`. */
  listen: { type: 'list', default: undefined, status: 'works' },
  /** The name in greetings and in Received fields; primary_hostname where unset. */
  hostname: { type: 'string', default: undefined, status: 'works' },
  message_size_limit: { type: 'size', default: '50M', status: 'works' },
  max_connections: { type: 'integer', default: '1000', status: 'works' },
  /** Characters of which any parts user and detail; empty for none. */
  recipient_delimiter: { type: 'string', default: '+', status: 'works' },
} as const;

/** Of the maildir driver. */
export const maildirOptions = {
  /** A passwd-file as Dovecot reads it. */
  passwd_file: { type: 'string', default: undefined, status: 'works' },
  /** Where a user's Maildir is; `$local_part_data`, `$domain_data` and the user's own fields may be used. */
  maildir: { type: 'string', default: undefined, expand: true, status: 'works' },
  user: { type: 'user', default: undefined, status: 'works' },
  group: { type: 'group', default: undefined, status: 'works' },
  mail_fsync: {
    type: 'string',
    default: 'optimized',
    oneOf: ['optimized', 'always', 'never'],
    status: 'works',
  },
  /** Whether users are known by their local part or by their whole address. */
  username_format: {
    type: 'string',
    default: 'local-part',
    oneOf: ['local-part', 'address'],
    status: 'works',
  },
} as const;
