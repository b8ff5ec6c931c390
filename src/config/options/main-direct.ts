/** Main options that Exim does not have: delivery while the sender waits, without an ACL that asks for it. */
export const directMainOptions = {
  /** Clients whose mail is handed over before it is spooled, as if every RCPT ACL said `control = cutthrough_delivery`. */
  direct_delivery_hosts: { type: 'list', default: undefined, expand: true, status: 'works' },
  /** What becomes of a message that nobody took and somebody may take later: it is spooled, or its sender keeps it. */
  direct_delivery_defer: {
    type: 'string',
    default: 'spool',
    oneOf: ['spool', 'pass'],
    status: 'works',
  },
  /** Longest time that a sender waits for the servers; what is unanswered then is spooled. RFC 5321 gives senders 10 minutes. */
  direct_delivery_timeout: { type: 'time', default: '4m', status: 'works' },
} as const;
