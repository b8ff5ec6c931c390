/** Options of a store about who has a mailbox. */
export const storeUserOptions = {
  /** A passwd-file as Dovecot reads it. */
  passwd_file: { type: 'string', default: undefined, status: 'works' },
  /** Whether users are known by their local part or by their whole address. */
  username_format: {
    type: 'string',
    default: 'local-part',
    oneOf: ['local-part', 'address'],
    status: 'works',
  },
  /** Characters of which any parts user and detail; empty for none. */
  recipient_delimiter: { type: 'string', default: '+', status: 'works' },
} as const;
