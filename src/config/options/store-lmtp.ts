/** Options of a store about what becomes of a message on its way into a mailbox, named as in Dovecot. */
export const storeLmtpOptions = {
  lmtp_save_to_detail_mailbox: { type: 'boolean', default: false, status: 'works' },
  lda_mailbox_autocreate: { type: 'boolean', default: false, status: 'works' },
  lda_mailbox_autosubscribe: { type: 'boolean', default: false, status: 'works' },
  /** What parts the levels of a folder's name in an address; by default `.`, or `/` where folders lie in folders. */
  hierarchy_separator: { type: 'string', default: undefined, oneOf: ['.', '/'], status: 'works' },
  lmtp_hdr_delivery_address: {
    type: 'string',
    default: 'final',
    oneOf: ['none', 'final', 'original'],
    status: 'works',
  },
  lmtp_add_received_header: { type: 'boolean', default: true, status: 'works' },
  /** Recipients that are one user, over all open transactions; 0 for no limit. */
  lmtp_user_concurrency_limit: { type: 'integer', default: '0', status: 'works' },
} as const;
