/** Private options of the directory driver `passwd_file`. */
export const passwdFileOptions = {
  /** Files in Dovecot's format, asked in order; `%u %n %d` in a path become parts of the user's name. */
  file: { type: 'list', default: undefined, status: 'works' },
} as const;
