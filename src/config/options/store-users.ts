/** Options of a store about who has a mailbox. */
export const storeUserOptions = {
  /** Names of `begin directories`, asked in order. */
  directories: { type: 'list', default: undefined, status: 'works' },
  /** Domains that are ours; nobody of another one is known. Unset for all. */
  domains: { type: 'list', default: undefined, expand: true, status: 'works' },
  /** The user or address that a recipient stands for; empty for none. Asked before the directories. */
  aliases: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** The user or address that gets what is for nobody; empty for none. */
  catch_all: { type: 'string', default: undefined, expand: true, status: 'works' },
  /** Characters of which any parts user and detail; empty for none. */
  recipient_delimiter: { type: 'string', default: '+', status: 'works' },
} as const;
