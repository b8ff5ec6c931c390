/**
 * Options of `begin directories`, a section that Exim does not have: who has a mailbox. A store names the directories it asks.
 * Names in round brackets are Dovecot's.
 */
export const directoryOptions = {
  /** What an address becomes before it is looked up (auth_username_format). */
  username_format: { type: 'string', default: '%Lu', status: 'works' },
  /** Characters that names may have; empty for all (auth_username_chars). */
  username_chars: {
    type: 'string',
    default: 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@',
    status: 'works',
  },
  /** For users whose entry says nothing of it. */
  user: { type: 'user', default: undefined, status: 'works' },
  group: { type: 'group', default: undefined, status: 'works' },
  home: { type: 'string', default: undefined, expand: true, status: 'works' },
  maildir: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** Octets of answers that are kept; 0 for none (auth_cache_size). */
  cache_size: { type: 'size', default: '0', status: 'works' },
  /** How long a user is known (auth_cache_ttl). */
  cache_ttl: { type: 'time', default: '1h', status: 'works' },
  /** How long nobody is known to be nobody (auth_cache_negative_ttl). */
  cache_negative_ttl: { type: 'time', default: '1h', status: 'works' },
  /** A user found before counts while the source is out of reach, whatever its age; as Dovecot's cache does. */
  cache_serve_stale: { type: 'boolean', default: true, status: 'works' },
} as const;
