/** Another LMTP server that holds the user's mailbox, as Dovecot's passdb fields `proxy`, `host`, `port`, `destuser`, `proxy_timeout`, `ssl` name it. */
export interface ProxyTarget {
  /** An IP address, in text without brackets. */
  readonly host: string;
  readonly port: number;
  /** The recipient given there instead of the one we got. */
  readonly recipient?: string;
  /** Limit for the whole hand-on, milliseconds; the store's own where absent. */
  readonly timeoutMs?: number;
  /** `starttls`: TLS before anything is said; `implicit`: TLS from the first octet. */
  readonly tls?: 'starttls' | 'implicit';
}

/** A user of the store. */
export interface MailUser {
  /** The name after case and domain rules; key for locks, quotas and logs. */
  readonly username: string;
  /** Absolute path of the home directory, where the directory gives one. */
  readonly home?: string;
  /** Absolute path of the user's Maildir, where the directory names one of its own. */
  readonly maildir?: string;
  /** How folders lie in it, where the directory says so (Dovecot's `LAYOUT=`). */
  readonly maildirLayout?: 'maildir++' | 'fs';
  /** Absolute path of the INBOX, where it is not the Maildir itself (Dovecot's `INBOX=`). */
  readonly inbox?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Where this user's mail is handed on to, instead of being delivered here. */
  readonly proxy?: ProxyTarget;
  /** Further `userdb_` fields, by name without the prefix. */
  readonly extra: Readonly<Record<string, string>>;
}
