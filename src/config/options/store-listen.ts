/** Options of a store about its listeners and the dialogue on them. */
export const storeListenOptions = {
  /** UNIX sockets to listen on. */
  sockets: { type: 'list', default: undefined, status: 'works' },
  socket_mode: { type: 'octal', default: '0660', status: 'works' },
  /** Owner and group of the sockets; the process's own where unset. */
  socket_user: { type: 'user', default: undefined, status: 'works' },
  socket_group: { type: 'group', default: undefined, status: 'works' },
  /** TCP addresses with port: `127.0.0.1:24`, `[::1]:24`. STARTTLS is offered there where there is a certificate. */
  listen: { type: 'list', default: undefined, status: 'works' },
  /** The same for connections that begin with a TLS handshake. */
  tls_listen: { type: 'list', default: undefined, status: 'works' },
  /** Hosts that may connect by TCP; unset, all may. */
  allowed_hosts: { type: 'list', default: undefined, expand: true, status: 'works' },
  /** Hosts that may use XCLIENT and XRCPTFORWARD (Dovecot: login_trusted_networks). An empty item is for UNIX sockets. */
  trusted_hosts: { type: 'list', default: undefined, expand: true, status: 'works' },
  max_connections: { type: 'integer', default: '1000', status: 'works' },
  /** Longest silence of a client. */
  idle_timeout: { type: 'time', default: '5m', status: 'works' },
  /** PEM files; the key may stand in the certificate's. */
  tls_certificate: { type: 'string', default: undefined, status: 'works' },
  tls_privatekey: { type: 'string', default: undefined, status: 'works' },
  /** OpenSSL's list of ciphers. */
  tls_require_ciphers: { type: 'string', default: undefined, status: 'works' },
  /** Dovecot: ssl_min_protocol. */
  tls_min_protocol: {
    type: 'string',
    default: 'TLSv1.2',
    oneOf: ['TLSv1.2', 'TLSv1.3'],
    status: 'works',
  },
  tls_handshake_timeout: { type: 'time', default: '30s', status: 'works' },
  /** The name in greetings and in Received fields; primary_hostname where unset. */
  hostname: { type: 'string', default: undefined, status: 'works' },
  login_greeting: { type: 'string', default: 'Mailchute ready.', status: 'works' },
  message_size_limit: { type: 'size', default: '50M', status: 'works' },
  smtputf8: { type: 'boolean', default: false, status: 'works' },
  /** RET, ENVID and NOTIFY are taken though DSN is not offered. */
  dsn_parameters: { type: 'boolean', default: true, status: 'works' },
} as const;
