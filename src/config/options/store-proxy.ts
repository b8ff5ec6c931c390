/** Options of a store about handing mail on to the servers that its directory names. */
export const storeProxyOptions = {
  /** Limit of what a RCPT causes and of the wait after the content, for entries without `proxy_timeout`; Dovecot's. */
  proxy_timeout: { type: 'time', default: '125s', status: 'works' },
  proxy_connect_timeout: { type: 'time', default: '30s', status: 'works' },
  /** To one backend at a time, idle ones included. */
  proxy_max_connections: { type: 'integer', default: '100', status: 'works' },
  /** How long a connection is kept for the next message; 0s closes it. */
  proxy_idle_timeout: { type: 'time', default: '5s', status: 'works' },
  /** `system` for the certificates Node brings, a file of PEM certificates, or empty: then any certificate is taken. */
  proxy_tls_verify_certificates: { type: 'string', default: 'system', status: 'works' },
} as const;
