/** Options of a store about how mail is put into mailboxes. */
export const storeDeliveryOptions = {
  user: { type: 'user', default: undefined, status: 'works' },
  group: { type: 'group', default: undefined, status: 'works' },
  mail_fsync: {
    type: 'string',
    default: 'optimized',
    oneOf: ['optimized', 'always', 'never'],
    status: 'works',
  },
} as const;
