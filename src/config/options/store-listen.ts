/** Options of a store about its listeners and the dialogue on them. */
export const storeListenOptions = {
  /** UNIX sockets to listen on. */
  sockets: { type: 'list', default: undefined, status: 'works' },
  socket_mode: { type: 'octal', default: '0660', status: 'works' },
  /** TCP addresses with port: `127.0.0.1:24`, `[::1]:24`. */
  listen: { type: 'list', default: undefined, status: 'works' },
  /** The name in greetings and in Received fields; primary_hostname where unset. */
  hostname: { type: 'string', default: undefined, status: 'works' },
  message_size_limit: { type: 'size', default: '50M', status: 'works' },
  max_connections: { type: 'integer', default: '1000', status: 'works' },
} as const;
