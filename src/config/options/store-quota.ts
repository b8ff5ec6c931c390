/** Options of a store about quotas, named as Dovecot's plugin settings; several rules and warnings are several lines of one name. */
export const storeQuotaOptions = {
  /** What counts: `maildir` or `count` for Maildirs, `dirsize` for mbox; then, as in Dovecot, `:name:noenforcing`. */
  quota: { type: 'string', default: undefined, status: 'works' },
  quota_rule: { type: 'string', default: undefined, expand: true, repeat: '\n', status: 'works' },
  quota_grace: { type: 'string', default: '10%', status: 'works' },
  /** A limit, and the command that is run when a delivery reaches it. */
  quota_warning: {
    type: 'string',
    default: undefined,
    expand: true,
    words: [],
    repeat: '\n',
    status: 'works',
  },
  /** Longest time one such command may run. */
  quota_warning_timeout: { type: 'time', default: '1m', status: 'works' },
  /** Of one message; 0 for no limit. */
  quota_max_mail_size: { type: 'size', default: '0', status: 'works' },
  quota_exceeded_message: {
    type: 'string',
    default: 'Quota exceeded (mailbox for user is full)',
    expand: true,
    status: 'works',
  },
  /** 452 4.2.2 instead of 552 5.2.2. */
  quota_full_tempfail: { type: 'boolean', default: false, status: 'works' },
  /** A full mailbox is told at RCPT, by the size that the sender declared; otherwise at the end of the data. */
  lmtp_rcpt_check_quota: { type: 'boolean', default: true, status: 'works' },
} as const;
