/** Private options of the mbox driver of stores; the locks are named as in Dovecot. */
export const mboxOptions = {
  /** The file of a user's INBOX; `$local_part_data`, `$domain_data` and `$home` may be used. */
  mbox: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** Where the other mailboxes are; unset, there are none. */
  mbox_folders: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** Which locks are taken, of dotlock, fcntl and flock; their order does not matter. */
  mbox_write_locks: { type: 'list', default: 'dotlock : fcntl', status: 'works' },
  /** Longest wait for them. */
  mbox_lock_timeout: { type: 'time', default: '5m', status: 'works' },
  /** A lock file is taken away when it and the mailbox have not changed for so long. */
  mbox_dotlock_change_timeout: { type: 'time', default: '2m', status: 'works' },
} as const;
