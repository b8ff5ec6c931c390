/** Private options of the maildir driver of stores. */
export const maildirOptions = {
  /** Where a user's Maildir is; `$local_part_data`, `$domain_data` and the user's own fields may be used. */
  maildir: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** How folders lie in it: `.Archive.2020`, or `Archive/2020` (Dovecot's `LAYOUT=`). */
  maildir_layout: { type: 'string', default: 'maildir++', oneOf: ['maildir++', 'fs'], status: 'works' },
} as const;
