/** All option tables in one place, and which drivers there are. */
import type { IgnoredKey, RefusedKey } from './reasons.ts';
import {
  authenticatorOptions,
  cramMd5Options,
  cyrusSaslOptions,
  dovecotOptions,
  externalOptions,
  gsaslOptions,
  heimdalGssapiOptions,
  plaintextOptions,
  spaOptions,
  tlsAuthOptions,
} from './authenticators.ts';
import { directoryOptions } from './directory.ts';
import { ldapOptions } from './directory-ldap.ts';
import { passwdFileOptions } from './directory-passwd-file.ts';
import { sqlOptions } from './directory-sql.ts';
import { staticOptions } from './directory-static.ts';
import { deliveryMainOptions } from './main-delivery.ts';
import { smtpMainOptions } from './main-smtp.ts';
import { systemMainOptions } from './main-system.ts';
import { tlsMainOptions } from './main-tls.ts';
import { directMainOptions } from './main-direct.ts';
import { dnslookupOptions } from './router-dnslookup.ts';
import { iplookupOptions } from './router-iplookup.ts';
import { manualrouteOptions } from './router-manualroute.ts';
import { queryprogramOptions } from './router-queryprogram.ts';
import { redirectOptions } from './router-redirect.ts';
import { routerOptions } from './router.ts';
import { maildirOptions } from './store-maildir.ts';
import { mboxOptions } from './store-mbox.ts';
import { storeOptions } from './stores.ts';
import type { OptionTable } from './table.ts';
import { appendfileOptions } from './transport-appendfile.ts';
import { autoreplyOptions } from './transport-autoreply.ts';
import { lmtpOptions } from './transport-lmtp.ts';
import { pipeOptions } from './transport-pipe.ts';
import { smtpOptions } from './transport-smtp.ts';
import { transportOptions } from './transport.ts';

export type MainTable = typeof directMainOptions &
  typeof smtpMainOptions &
  typeof tlsMainOptions &
  typeof deliveryMainOptions &
  typeof systemMainOptions;

export const mainOptions: MainTable = {
  ...smtpMainOptions,
  ...tlsMainOptions,
  ...deliveryMainOptions,
  ...systemMainOptions,
  ...directMainOptions,
};

/** Other names of options, and names that set two switches at once. */
export const aliases: Readonly<Record<SectionKind | 'main', ReadonlyMap<string, readonly string[]>>> = {
  main: new Map([
    ['daemon_smtp_port', ['daemon_smtp_ports']],
    ['return_size_limit', ['bounce_return_size_limit']],
  ]),
  router: new Map([
    ['verify', ['verify_sender', 'verify_recipient']],
    ['fail_verify', ['fail_verify_sender', 'fail_verify_recipient']],
  ]),
  transport: new Map(),
  authenticator: new Map(),
  store: new Map(),
  directory: new Map(),
};

export type SectionKind = 'router' | 'transport' | 'authenticator' | 'store' | 'directory';

export interface DriverSpec {
  readonly options: OptionTable;
  /** `ignored`: instances are read and checked, and nobody uses them. */
  readonly status: 'works' | { readonly refused: RefusedKey } | { readonly ignored: IgnoredKey };
}

/** A section of driver instances: the options of all of them, and each driver's own. */
export interface SectionSpec {
  readonly kind: SectionKind;
  /** As it stands after `begin`. */
  readonly name: 'routers' | 'transports' | 'authenticators' | 'stores' | 'directories';
  readonly options: OptionTable;
  readonly drivers: ReadonlyMap<string, DriverSpec>;
}

/** The table of a driver without private options. */
export type NoOptions = Readonly<Record<string, never>>;

/** Private options of the drivers that work, for the types of the model. */
export interface RouterTables {
  readonly accept: NoOptions;
  readonly dnslookup: typeof dnslookupOptions;
  readonly ipliteral: NoOptions;
  readonly manualroute: typeof manualrouteOptions;
  readonly redirect: typeof redirectOptions;
}

export interface TransportTables {
  readonly appendfile: typeof appendfileOptions;
  readonly autoreply: typeof autoreplyOptions;
  readonly lmtp: typeof lmtpOptions;
  readonly pipe: typeof pipeOptions;
  readonly smtp: typeof smtpOptions;
}

export interface StoreTables {
  readonly maildir: typeof maildirOptions;
  readonly mbox: typeof mboxOptions;
}

export interface DirectoryTables {
  readonly ldap: typeof ldapOptions;
  readonly passwd_file: typeof passwdFileOptions;
  readonly sql: typeof sqlOptions;
  readonly static: typeof staticOptions;
}

const refused: DriverSpec['status'] = { refused: 'driver' };

export const routerSection: SectionSpec = {
  kind: 'router',
  name: 'routers',
  options: routerOptions,
  drivers: new Map<string, DriverSpec>([
    ['accept', { options: {}, status: 'works' }],
    ['dnslookup', { options: dnslookupOptions, status: 'works' }],
    ['ipliteral', { options: {}, status: 'works' }],
    ['iplookup', { options: iplookupOptions, status: refused }],
    ['manualroute', { options: manualrouteOptions, status: 'works' }],
    ['queryprogram', { options: queryprogramOptions, status: refused }],
    ['redirect', { options: redirectOptions, status: 'works' }],
  ]),
};

export const transportSection: SectionSpec = {
  kind: 'transport',
  name: 'transports',
  options: transportOptions,
  drivers: new Map<string, DriverSpec>([
    ['appendfile', { options: appendfileOptions, status: 'works' }],
    ['autoreply', { options: autoreplyOptions, status: 'works' }],
    ['lmtp', { options: lmtpOptions, status: 'works' }],
    ['pipe', { options: pipeOptions, status: 'works' }],
    ['smtp', { options: smtpOptions, status: 'works' }],
  ]),
};

const noServer: DriverSpec['status'] = { refused: 'auth' };
const clientOnly: DriverSpec['status'] = { ignored: 'noClientAuth' };

export const authenticatorSection: SectionSpec = {
  kind: 'authenticator',
  name: 'authenticators',
  options: authenticatorOptions,
  drivers: new Map<string, DriverSpec>([
    ['cram_md5', { options: cramMd5Options, status: clientOnly }],
    ['cyrus_sasl', { options: cyrusSaslOptions, status: noServer }],
    ['dovecot', { options: dovecotOptions, status: noServer }],
    ['external', { options: externalOptions, status: clientOnly }],
    ['gsasl', { options: gsaslOptions, status: noServer }],
    ['heimdal_gssapi', { options: heimdalGssapiOptions, status: noServer }],
    ['plaintext', { options: plaintextOptions, status: clientOnly }],
    ['spa', { options: spaOptions, status: clientOnly }],
    ['tls', { options: tlsAuthOptions, status: noServer }],
  ]),
};

export const storeSection: SectionSpec = {
  kind: 'store',
  name: 'stores',
  options: storeOptions,
  drivers: new Map<string, DriverSpec>([
    ['maildir', { options: maildirOptions, status: 'works' }],
    ['mbox', { options: mboxOptions, status: 'works' }],
  ]),
};

export const directorySection: SectionSpec = {
  kind: 'directory',
  name: 'directories',
  options: directoryOptions,
  drivers: new Map<string, DriverSpec>([
    ['ldap', { options: ldapOptions, status: 'works' }],
    ['passwd_file', { options: passwdFileOptions, status: 'works' }],
    ['sql', { options: sqlOptions, status: 'works' }],
    ['static', { options: staticOptions, status: 'works' }],
  ]),
};

/** Drivers of a section that work, in the order of the alphabet: what `-bV` prints. */
export function workingDrivers(section: SectionSpec): string[] {
  return [...section.drivers].filter(([, d]) => d.status === 'works').map(([name]) => name);
}
