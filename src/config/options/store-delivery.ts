/** Options of a store about how mail is put into mailboxes. */
export const storeDeliveryOptions = {
  user: { type: 'user', default: undefined, status: 'works' },
  group: { type: 'group', default: undefined, status: 'works' },
  /**
   * How long transfers from a Mailchute edge are remembered, so that one that is repeated after a lost answer is not stored twice; 0s
   * for not at all.
   */
  transfer_memory: { type: 'time', default: '5d', status: 'works' },
  mail_fsync: {
    type: 'string',
    default: 'optimized',
    oneOf: ['optimized', 'always', 'never'],
    status: 'works',
  },
} as const;
