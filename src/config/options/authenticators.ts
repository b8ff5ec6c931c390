/**
 * Options of authenticators (Exim manual, "SMTP authentication" and the chapters of its drivers).
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */

/** Of every authenticator. */
export const authenticatorOptions = {
  client_condition: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  client_set_id: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  public_name: { type: 'string', default: undefined, status: { ignored: 'noClientAuth' } },
  server_advertise_condition: {
    type: 'string',
    default: undefined,
    expand: true,
    status: { ignored: 'noServerAuth' },
  },
  server_condition: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_debug_print: { type: 'string', default: undefined, expand: true, status: { ignored: 'debug' } },
  server_mail_auth_condition: {
    type: 'string',
    default: undefined,
    expand: true,
    status: { ignored: 'noServerAuth' },
  },
  server_set_id: { type: 'string', default: undefined, expand: true, status: { ignored: 'noServerAuth' } },
} as const;

export const cramMd5Options = {
  client_name: {
    type: 'string',
    default: undefined,
    expand: true,
    status: { ignored: 'noClientAuth' },
  },
  client_secret: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  server_secret: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
} as const;

export const cyrusSaslOptions = {
  server_hostname: {
    type: 'string',
    default: '$primary_hostname',
    expand: true,
    status: { refused: 'auth' },
  },
  server_mech: { type: 'string', default: undefined, status: { refused: 'auth' } },
  server_realm: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_service: { type: 'string', default: 'smtp', status: { refused: 'auth' } },
} as const;

export const dovecotOptions = {
  server_socket: { type: 'string', default: undefined, status: { refused: 'auth' } },
} as const;

export const externalOptions = {
  client_send: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  server_param2: { type: 'string', default: undefined, expand: true, status: { ignored: 'noServerAuth' } },
  server_param3: { type: 'string', default: undefined, expand: true, status: { ignored: 'noServerAuth' } },
} as const;

export const gsaslOptions = {
  client_authz: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  client_channelbinding: { type: 'boolean', default: false, status: { refused: 'auth' } },
  client_password: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  client_spassword: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  client_username: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_channelbinding: { type: 'boolean', default: false, status: { refused: 'auth' } },
  server_hostname: {
    type: 'string',
    default: '$primary_hostname',
    expand: true,
    status: { refused: 'auth' },
  },
  server_key: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_mech: { type: 'string', default: undefined, status: { refused: 'auth' } },
  server_password: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_realm: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_scram_iter: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_scram_salt: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_service: { type: 'string', default: 'smtp', expand: true, status: { refused: 'auth' } },
  server_skey: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
} as const;

export const heimdalGssapiOptions = {
  server_hostname: {
    type: 'string',
    default: '$primary_hostname',
    expand: true,
    status: { refused: 'auth' },
  },
  server_keytab: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_service: { type: 'string', default: 'smtp', expand: true, status: { refused: 'auth' } },
} as const;

export const plaintextOptions = {
  client_ignore_invalid_base64: { type: 'boolean', default: false, status: { ignored: 'noClientAuth' } },
  client_send: { type: 'list', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  server_prompts: { type: 'list', default: undefined, expand: true, status: { ignored: 'noServerAuth' } },
} as const;

export const spaOptions = {
  client_domain: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  client_password: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  client_username: { type: 'string', default: undefined, expand: true, status: { ignored: 'noClientAuth' } },
  server_password: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
} as const;

export const tlsAuthOptions = {
  server_param: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_param1: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_param2: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
  server_param3: { type: 'string', default: undefined, expand: true, status: { refused: 'auth' } },
} as const;
