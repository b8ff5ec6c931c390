/**
 * Main options of TLS (Exim manual, "Main configuration").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const tlsMainOptions = {
  gnutls_allow_auto_pkcs11: { type: 'boolean', default: false, status: { refused: 'tls' } },
  gnutls_compat_mode: { type: 'boolean', default: false, status: { refused: 'tls' } },
  openssl_options: { type: 'list', default: undefined, status: { refused: 'tls' } },
  tls_advertise_hosts: { type: 'list', default: '*', expand: true, status: { only: [''], refused: 'tls' } },
  tls_alpn: { type: 'list', default: 'smtp:esmtp', expand: true, status: { refused: 'tls' } },
  tls_certificate: { type: 'list', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_crl: { type: 'string', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_dh_max_bits: { type: 'integer', default: '2236', status: { refused: 'tls' } },
  tls_dhparam: { type: 'string', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_eccurve: { type: 'string', default: 'auto', expand: true, status: { refused: 'tls' } },
  tls_ocsp_file: { type: 'string', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_on_connect_ports: { type: 'list', default: undefined, status: { refused: 'tls' } },
  tls_privatekey: { type: 'list', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_remember_esmtp: { type: 'boolean', default: false, status: { refused: 'tls' } },
  tls_require_ciphers: { type: 'string', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_resumption_hosts: { type: 'list', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_try_verify_hosts: { type: 'list', default: undefined, expand: true, status: { refused: 'tls' } },
  tls_verify_certificates: { type: 'string', default: 'system', expand: true, status: { refused: 'tls' } },
  tls_verify_hosts: { type: 'list', default: undefined, expand: true, status: { refused: 'tls' } },
} as const;
