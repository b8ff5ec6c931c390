/** Fields of X.509 certificates as `${certextract` gives them (Exim manual, "Expansion items"; RFC 5280). */
import { characters, DerError, inside, objectId, readItems, timeMs, type DerItem } from './der.ts';
import { dates } from './variables/dates.ts';

interface Name {
  readonly label: string;
  readonly value: string;
}

interface Certificate {
  readonly version: number;
  readonly serial: Buffer;
  readonly algorithm: string;
  readonly signature: Buffer;
  readonly subject: readonly Name[];
  readonly issuer: readonly Name[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Object identifier -> content. */
  readonly extensions: ReadonlyMap<string, Buffer>;
}

const labels: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'STREET'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.2.840.113549.1.9.1', 'EMAIL'],
]);

const algorithms: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.4', 'RSA-MD5'],
  ['1.2.840.113549.1.1.5', 'RSA-SHA1'],
  ['1.2.840.113549.1.1.10', 'RSA-PSS'],
  ['1.2.840.113549.1.1.11', 'RSA-SHA256'],
  ['1.2.840.113549.1.1.12', 'RSA-SHA384'],
  ['1.2.840.113549.1.1.13', 'RSA-SHA512'],
  ['1.2.840.10045.4.3.2', 'ECDSA-SHA256'],
  ['1.2.840.10045.4.3.3', 'ECDSA-SHA384'],
  ['1.2.840.10045.4.3.4', 'ECDSA-SHA512'],
  ['1.3.101.112', 'EdDSA-Ed25519'],
  ['1.3.101.113', 'EdDSA-Ed448'],
]);

function readNames(item: DerItem | undefined): Name[] {
  return inside(item)
    .flatMap(inside)
    .map((pair) => {
      const [type, value] = inside(pair);
      const id = objectId(type);
      return { label: labels.get(id) ?? id, value: value === undefined ? '' : characters(value) };
    });
}

function readExtensions(item: DerItem | undefined): Map<string, Buffer> {
  const [list] = inside(item);
  return new Map(
    inside(list).map((extension) => {
      const parts = inside(extension);
      return [objectId(parts[0]), parts.at(-1)?.content ?? Buffer.alloc(0)];
    }),
  );
}

function read(der: Buffer): Certificate {
  const [body, algorithm, signature] = inside(readItems(der)[0]);
  const parts = inside(body);
  const version = parts[0]?.tag === 0xa0 ? (inside(parts.shift())[0]?.content[0] ?? 0) + 1 : 1;
  const [serial, , issuer, validity, subject] = parts;
  const [notBefore, notAfter] = inside(validity);
  return {
    version,
    serial: serial?.content ?? Buffer.alloc(0),
    algorithm: objectId(inside(algorithm)[0]),
    // The first octet tells unused bits.
    signature: signature?.content.subarray(1) ?? Buffer.alloc(0),
    issuer: readNames(issuer),
    subject: readNames(subject),
    notBeforeMs: timeMs(notBefore),
    notAfterMs: timeMs(notAfter),
    extensions: readExtensions(parts.find((p) => p.tag === 0xa3)),
  };
}

/** RFC 4514 §2.4. */
function escapeName(value: string): string {
  return value.replace(/[,+"\\<>;]|^[ #]| $/g, '\\$&');
}

interface Modifiers {
  readonly separator: string | undefined;
  readonly tag: string | undefined;
}

/** `>` and a character is the separator, anything else picks elements of one type; the last of each counts. */
function readModifiers(words: readonly string[]): Modifiers {
  let separator: string | undefined;
  let tag: string | undefined;
  for (const word of words.map((w) => w.trim()))
    if (word.startsWith('>')) separator = word.slice(1) || ',';
    else if (word !== '') tag = word;
  return { separator, tag };
}

function joined(items: readonly string[], { separator = '\n' }: Modifiers): string | undefined {
  if (items.length === 0) return undefined;
  return items.map((i) => i.replaceAll(separator, separator + separator)).join(separator);
}

function names(all: readonly Name[], m: Modifiers): string | undefined {
  if (all.length === 0) return undefined;
  if (m.tag === undefined && m.separator === undefined)
    return all.map((n) => `${n.label}=${escapeName(n.value)}`).join(',');
  // As elements of a list, commas need no escape any more.
  const element = (value: string): string => escapeName(value).replaceAll('\\,', ',');
  if (m.tag === undefined)
    return joined(
      all.map((n) => `${n.label}=${element(n.value)}`),
      m,
    );
  return joined(
    all.filter((n) => n.label === m.tag).map((n) => element(n.value)),
    m,
  );
}

function time(ms: number, m: Modifiers): string {
  return m.tag === 'int' ? String(Math.floor(ms / 1000)) : dates.certificate(new Date(ms));
}

const kinds: ReadonlyMap<number, string> = new Map([
  [0x81, 'MAIL'],
  [0x82, 'DNS'],
  [0x86, 'URI'],
]);

function alternativeNames(c: Certificate, m: Modifiers): string | undefined {
  const extension = c.extensions.get('2.5.29.17');
  if (extension === undefined) return undefined;
  const wanted = ['dns', 'uri', 'mail'].includes(m.tag ?? '') ? m.tag?.toUpperCase() : undefined;
  const found = inside(readItems(extension)[0]).flatMap(({ tag, content }) => {
    const kind = kinds.get(tag);
    if (kind === undefined || (wanted !== undefined && kind !== wanted)) return [];
    const text = content.toString('latin1');
    return [wanted === undefined ? `${kind}=${text}` : text];
  });
  return joined(found, m);
}

const uri = 0x86;

/** RFC 5280 §4.2.2.1. */
function ocspUris(c: Certificate): string[] {
  const extension = c.extensions.get('1.3.6.1.5.5.7.1.1');
  return inside(extension && readItems(extension)[0]).flatMap((access) => {
    const [method, place] = inside(access);
    return objectId(method) === '1.3.6.1.5.5.7.48.1' && place?.tag === uri
      ? [place.content.toString('latin1')]
      : [];
  });
}

/** RFC 5280 §4.2.1.13. */
function crlUris(c: Certificate): string[] {
  const extension = c.extensions.get('2.5.29.31');
  return inside(extension && readItems(extension)[0])
    .flatMap((point) => inside(point).filter((p) => p.tag === 0xa0))
    .flatMap((name) => inside(name).filter((p) => p.tag === 0xa0))
    .flatMap(inside)
    .filter((place) => place.tag === uri)
    .map((place) => place.content.toString('latin1'));
}

const hex = (octets: Buffer): string[] => Array.from(octets, (o) => o.toString(16).padStart(2, '0'));

const fields: ReadonlyMap<string, (c: Certificate, m: Modifiers) => string | undefined> = new Map<
  string,
  (c: Certificate, m: Modifiers) => string | undefined
>([
  ['version', (c) => String(c.version)],
  [
    'serial_number',
    (c) =>
      hex(c.serial)
        .join('')
        .replace(/^0+(?=.)/, ''),
  ],
  ['subject', (c, m) => names(c.subject, m)],
  ['issuer', (c, m) => names(c.issuer, m)],
  ['notbefore', (c, m) => time(c.notBeforeMs, m)],
  ['notafter', (c, m) => time(c.notAfterMs, m)],
  ['sig_algorithm', (c) => algorithms.get(c.algorithm) ?? c.algorithm],
  ['signature', (c) => hex(c.signature).join(' ')],
  ['subj_altname', alternativeNames],
  ['ocsp_uri', (c, m) => joined(ocspUris(c), m)],
  ['crl_uri', (c, m) => joined(crlUris(c), m)],
]);

/** True for the variables that hold a certificate. */
export function isCertificateVariable(name: string): boolean {
  return /^tls_(?:in|out)_(?:our|peer)cert$/.test(name);
}

/**
 * @param selector the field with its modifiers, `subj_altname,dns,>:`
 * @param der the certificate
 * @returns an octet string, undefined where the certificate has no such field, or what is wrong
 */
export function certificateField(
  selector: string,
  der: Buffer,
): string | undefined | { readonly reason: string } {
  const [name = '', ...modifiers] = selector.trim().split(',');
  const [bare = '', ...more] = name.split(/\s/);
  const field = fields.get(bare);
  if (field === undefined) return { reason: `bad field selector "${selector}" for certextract` };
  try {
    return field(read(der), readModifiers(more.length > 0 ? [] : modifiers));
  } catch (e) {
    if (e instanceof DerError) return { reason: `malformed certificate: ${e.message}` };
    throw e;
  }
}
