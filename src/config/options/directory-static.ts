/** Private options of the directory driver `static`. */
export const staticOptions = {
  /** A user exists where this directory exists; `$local_part_data` and `$domain_data` are parts of the user's name. */
  directory: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** uid and gid are those of the directory. */
  use_owner: { type: 'boolean', default: false, status: 'works' },
} as const;
