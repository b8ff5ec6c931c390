/**
 * LDAP queries: settings, then a URL (Exim manual, "Format of LDAP queries", "LDAP authentication and control
 * information"; RFC 4516). Texts are octet strings.
 */
import { splitList } from '../../mail/list-text.ts';

export interface LdapServer {
  /** A host name or address, or the absolute path of a UNIX socket. */
  readonly host: string;
  readonly port: number | undefined;
}

export interface LdapQuery {
  readonly scheme: 'ldap' | 'ldaps' | 'ldapi';
  /** Undefined where the query names none: the main option's are asked. */
  readonly servers: readonly LdapServer[] | undefined;
  readonly base: string;
  /** Empty: all. */
  readonly attributes: readonly string[];
  readonly scope: 'base' | 'one' | 'sub';
  readonly filter: string;
  /** Undefined where the query does not say. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Entries at most; 0: no limit. */
  readonly sizeLimit: number;
  /** For the server, seconds; 0: no limit. */
  readonly timeLimitSeconds: number;
  /** For connecting and for waiting, seconds; 0: as usual. */
  readonly networkTimeoutSeconds: number;
  readonly dereference: 'never' | 'search' | 'find' | 'always';
  /** Referrals of the server are left alone. */
  readonly ignoreReferrals: boolean;
}

type Settings = Pick<
  LdapQuery,
  | 'servers'
  | 'user'
  | 'password'
  | 'sizeLimit'
  | 'timeLimitSeconds'
  | 'networkTimeoutSeconds'
  | 'dereference'
  | 'ignoreReferrals'
>;
type Writable<T> = { -readonly [K in keyof T]: T[K] };

const dereferences = { never: 'never', searching: 'search', finding: 'find', always: 'always' } as const;

/** Reads a query; a text says what is wrong with it. */
export function parseLdapQuery(text: string): LdapQuery | string {
  const settings: Writable<Settings> = {
    servers: undefined,
    user: undefined,
    password: undefined,
    sizeLimit: 0,
    timeLimitSeconds: 0,
    networkTimeoutSeconds: 0,
    dereference: 'never',
    ignoreReferrals: false,
  };
  let rest = text.trimStart();
  while (!/^ldap/i.test(rest)) {
    const m = /^([^=]*)=("(?:\\[\s\S]|[^"\\])*"|(?!")\S*)\s+/.exec(rest);
    if (m === null) return 'malformed parameter setting precedes LDAP URL';
    const [whole, name = '', raw = ''] = m;
    const problem = set(settings, name, raw.startsWith('"') ? dequoted(raw.slice(1, -1)) : raw);
    if (problem !== undefined) return problem;
    rest = rest.slice(whole.length);
  }
  if (!/^ldap[is]?:\/\//i.test(rest))
    return `LDAP URL does not start with "ldap://", "ldaps://", or "ldapi://" (it starts with "${rest.slice(0, 16)}...")`;
  const url = parseUrl(rest.trimEnd());
  return typeof url === 'string' ? url : { ...settings, ...url, servers: url.servers ?? settings.servers };
}

const controls: ReadonlyMap<string, string> = new Map([
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
]);

/** Escapes of quoted strings (Exim manual, "The Exim run time configuration file", "Common format of options"). */
function dequoted(text: string): string {
  return text.replace(/\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|[\s\S])/g, (_, escape: string) => {
    if (escape.length > 1 && escape.startsWith('x'))
      return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    if (/^[0-7]/.test(escape)) return String.fromCharCode(Number.parseInt(escape, 8) & 0xff);
    return controls.get(escape) ?? escape;
  });
}

function set(settings: Writable<Settings>, name: string, value: string): string | undefined {
  const number = /^\d+$/.test(value) ? Number(value) : undefined;
  switch (name.toLowerCase()) {
    case 'user':
      settings.user = percentDecoded(value) ?? value;
      return undefined;
    case 'pass':
      settings.password = value;
      return undefined;
    case 'size':
      if (number === undefined) break;
      settings.sizeLimit = number;
      return undefined;
    case 'time':
      if (number === undefined) break;
      settings.timeLimitSeconds = number;
      return undefined;
    case 'connect':
    case 'nettime':
      if (number === undefined) break;
      settings.networkTimeoutSeconds = number;
      return undefined;
    case 'dereference': {
      const found = Object.entries(dereferences).find(([word]) => word === value.toLowerCase());
      if (found === undefined) break;
      [, settings.dereference] = found;
      return undefined;
    }
    case 'referrals':
      if (!/^(?:no)?follow$/i.test(value)) break;
      settings.ignoreReferrals = value.toLowerCase() === 'nofollow';
      return undefined;
    case 'servers':
      settings.servers = splitList(value).map(parseLdapServer);
      return undefined;
    default:
      return `unknown parameter "${name}=" precedes LDAP URL`;
  }
  return `malformed parameter "${name}=${value}" precedes LDAP URL`;
}

/** `host`, `host:port`, `[address]:port` or `/path`. */
export function parseLdapServer(text: string): LdapServer {
  if (text.startsWith('/')) return { host: text, port: undefined };
  const m = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text);
  return m === null
    ? { host: text, port: undefined }
    : { host: m[1] ?? m[2] ?? '', port: m[3] === undefined ? undefined : Number(m[3]) };
}

type UrlParts = Pick<LdapQuery, 'scheme' | 'servers' | 'base' | 'attributes' | 'scope' | 'filter'>;

const scopes: ReadonlyMap<string, LdapQuery['scope']> = new Map([
  ['', 'base'],
  ['base', 'base'],
  ['one', 'one'],
  ['onelevel', 'one'],
  ['sub', 'sub'],
  ['subtree', 'sub'],
]);

function parseUrl(url: string): UrlParts | string {
  const m = /^(ldap[is]?):\/\/([^/?]*)\/?([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?(.*))?)?)?)?$/i.exec(
    url,
  );
  if (m === null) return `LDAP query does not contain a valid URL: ${url}`;
  const [
    ,
    scheme = '',
    place = '',
    base = '',
    attributes = '',
    scopeText = '',
    filter = '',
    extensions = '',
  ] = m;
  if (/(?:^|,)!/.test(extensions)) return `critical extension in LDAP URL: ${extensions}`;
  const scope = scopes.get(scopeText.toLowerCase());
  if (scope === undefined) return `unknown scope "${scopeText}" in LDAP URL`;
  const decoded = [place, base, filter].map(percentDecoded);
  const [host, baseText, filterText] = decoded;
  if (host === undefined || baseText === undefined || filterText === undefined)
    return `malformed percent encoding in LDAP URL: ${url}`;
  return {
    scheme: scheme.toLowerCase() as UrlParts['scheme'],
    servers: host === '' ? undefined : [parseLdapServer(host)],
    base: baseText,
    attributes: attributes === '' ? [] : attributes.split(',').map((a) => percentDecoded(a.trim()) ?? a),
    scope,
    filter: filterText === '' ? '(objectClass=*)' : filterText,
  };
}

/** Undefined where a percent sign is not followed by two hex digits. */
function percentDecoded(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
