/** A user of the store. */
export interface MailUser {
  /** The name after case and domain rules; key for locks, quotas and logs. */
  readonly username: string;
  /** Absolute path of the home directory, where the directory gives one. */
  readonly home?: string;
  /** Absolute path of the user's Maildir, where the directory names one of its own. */
  readonly maildir?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Further `userdb_` fields, by name without the prefix. */
  readonly extra: Readonly<Record<string, string>>;
}
