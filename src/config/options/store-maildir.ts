/** Private options of the maildir driver of stores. */
export const maildirOptions = {
  /** Where a user's Maildir is; `$local_part_data`, `$domain_data` and the user's own fields may be used. */
  maildir: { type: 'string', default: undefined, expand: true, status: 'works' },
} as const;
