/**
 * DNS messages (RFC 1035 §4, RFC 3596, RFC 2782, RFC 6698; EDNS of RFC 6891 as far as a client needs it). Pure. Names are
 * octet strings without the dot at the end; a dot or backslash inside a label is written with a backslash before it.
 */

/** Numbers of record types. */
export const dnsTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  TLSA: 52,
  SPF: 99,
} as const;

/** What a record says; `raw` for types that are not listed here. */
export type DnsData =
  | { readonly kind: 'address'; readonly octets: Uint8Array }
  /** NS, CNAME, PTR. */
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'mx'; readonly preference: number; readonly name: string }
  | {
      readonly kind: 'srv';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly name: string;
    }
  | {
      readonly kind: 'soa';
      readonly primary: string;
      readonly mailbox: string;
      /** Serial, refresh, retry, expire, minimum. */
      readonly numbers: readonly number[];
    }
  /** TXT, SPF. */
  | { readonly kind: 'text'; readonly items: readonly string[] }
  | {
      readonly kind: 'tlsa';
      readonly usage: number;
      readonly selector: number;
      readonly matching: number;
      readonly octets: Uint8Array;
    }
  | { readonly kind: 'raw'; readonly octets: Uint8Array };

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly data: DnsData;
}

export interface DnsMessage {
  readonly id: number;
  /** 0 no error, 2 server failure, 3 no such name. */
  readonly rcode: number;
  readonly isResponse: boolean;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  /** The resolver has checked the answer by DNSSEC. */
  readonly authenticated: boolean;
  readonly question: { readonly name: string; readonly type: number } | undefined;
  readonly answers: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
}

export interface DnsQuery {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  /** Asks for DNSSEC (the AD and DO bits). */
  readonly dnssec: boolean;
}

const udpOctets = 1232;

/** The message in octets; undefined where the name cannot be asked for: a label is empty or longer than 63 octets, or all is longer than 255. */
export function encodeQuery(query: DnsQuery): Buffer | undefined {
  const name = encodeName(query.name);
  if (name === undefined) return undefined;
  const header = Buffer.alloc(12);
  header.writeUInt16BE(query.id, 0);
  // Recursion desired; authentic data understood (RFC 6840 §5.7).
  header.writeUInt16BE(0x0100 | (query.dnssec ? 0x0020 : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const question = Buffer.alloc(4);
  question.writeUInt16BE(query.type, 0);
  question.writeUInt16BE(1, 2);
  const edns = Buffer.alloc(11);
  edns.writeUInt16BE(41, 1);
  edns.writeUInt16BE(udpOctets, 3);
  edns.writeUInt32BE(query.dnssec ? 0x8000 : 0, 5);
  return Buffer.concat([header, name, question, edns]);
}

/** A name on the wire, without compression. */
export function encodeName(name: string): Buffer | undefined {
  const bare = name.replace(/(?<!\\)\.$/, '');
  if (bare === '') return Buffer.alloc(1);
  const labels = bare.match(/(?:\\[\s\S]|[^\\.])+|(?<=^|\.)(?=\.|$)/g) ?? [];
  const parts: Buffer[] = [];
  for (const label of labels) {
    const octets = Buffer.from(label.replace(/\\([\s\S])/g, '$1'), 'latin1');
    if (octets.length === 0 || octets.length > 63) return undefined;
    parts.push(Buffer.from([octets.length]), octets);
  }
  const all = Buffer.concat([...parts, Buffer.alloc(1)]);
  return all.length > 255 ? undefined : all;
}

/** Reads a message; undefined where it is malformed. */
export function decodeMessage(octets: Uint8Array): DnsMessage | undefined {
  try {
    return new Reader(octets).message();
  } catch (e) {
    if (e instanceof Malformed) return undefined;
    throw e;
  }
}

class Malformed extends Error {}

const maxRecords = 2000;

class Reader {
  private readonly octets: Buffer;
  private at = 0;

  constructor(octets: Uint8Array) {
    this.octets = Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
  }

  message(): DnsMessage {
    const id = this.u16();
    const flags = this.u16();
    const [questions, answers, authority] = [this.u16(), this.u16(), this.u16()];
    this.u16();
    let question: DnsMessage['question'];
    for (let i = 0; i < questions; i++) {
      const name = this.name();
      const type = this.u16();
      this.u16();
      question ??= { name, type };
    }
    const truncated = (flags & 0x0200) !== 0;
    return {
      id,
      rcode: flags & 0x000f,
      isResponse: (flags & 0x8000) !== 0,
      authoritative: (flags & 0x0400) !== 0,
      truncated,
      authenticated: (flags & 0x0020) !== 0,
      question,
      answers: truncated ? [] : this.records(answers),
      authority: truncated ? [] : this.records(authority),
    };
  }

  private records(count: number): DnsRecord[] {
    if (count > maxRecords) throw new Malformed();
    return Array.from({ length: count }, () => this.record());
  }

  private record(): DnsRecord {
    const name = this.name();
    const type = this.u16();
    this.u16();
    const ttl = this.u32();
    const length = this.u16();
    const end = this.at + length;
    if (end > this.octets.length) throw new Malformed();
    const data = this.data(type, end);
    if (this.at > end) throw new Malformed();
    this.at = end;
    // RFC 2181 §8: a TTL with the highest bit set counts as zero.
    return { name, type, ttlSeconds: ttl > 0x7fffffff ? 0 : ttl, data };
  }

  private data(type: number, end: number): DnsData {
    switch (type) {
      case dnsTypes.A:
      case dnsTypes.AAAA: {
        const octets = this.rest(end);
        if (octets.length !== (type === dnsTypes.A ? 4 : 16)) throw new Malformed();
        return { kind: 'address', octets };
      }
      case dnsTypes.NS:
      case dnsTypes.CNAME:
      case dnsTypes.PTR:
        return { kind: 'name', name: this.name() };
      case dnsTypes.MX:
        return { kind: 'mx', preference: this.u16(), name: this.name() };
      case dnsTypes.SRV:
        return { kind: 'srv', priority: this.u16(), weight: this.u16(), port: this.u16(), name: this.name() };
      case dnsTypes.SOA:
        return {
          kind: 'soa',
          primary: this.name(),
          mailbox: this.name(),
          numbers: Array.from({ length: 5 }, () => this.u32()),
        };
      case dnsTypes.TXT:
      case dnsTypes.SPF: {
        const items: string[] = [];
        while (this.at < end) items.push(this.text(end));
        return { kind: 'text', items };
      }
      case dnsTypes.TLSA:
        return {
          kind: 'tlsa',
          usage: this.u8(),
          selector: this.u8(),
          matching: this.u8(),
          octets: this.rest(end),
        };
      default:
        return { kind: 'raw', octets: this.rest(end) };
    }
  }

  private text(end: number): string {
    const length = this.u8();
    if (this.at + length > end) throw new Malformed();
    const text = this.octets.toString('latin1', this.at, this.at + length);
    this.at += length;
    return text;
  }

  private rest(end: number): Buffer {
    if (this.at > end) throw new Malformed();
    const octets = this.octets.subarray(this.at, end);
    this.at = end;
    return octets;
  }

  private u8(): number {
    const value = this.octets[this.at++];
    if (value === undefined) throw new Malformed();
    return value;
  }

  private u16(): number {
    return this.u8() * 256 + this.u8();
  }

  private u32(): number {
    return this.u16() * 65536 + this.u16();
  }

  /** A name, perhaps with pointers; each must lead backwards, so that it ends. */
  private name(): string {
    const labels: string[] = [];
    let length = 0;
    let limit = this.at;
    let back: number | undefined;
    for (;;) {
      const octet = this.u8();
      if (octet === 0) break;
      if (octet >= 0xc0) {
        const target = (octet & 0x3f) * 256 + this.u8();
        back ??= this.at;
        if (target >= limit) throw new Malformed();
        limit = target;
        this.at = target;
        continue;
      }
      length += octet + 1;
      if (octet > 63 || length > 254 || this.at + octet > this.octets.length) throw new Malformed();
      labels.push(this.octets.toString('latin1', this.at, this.at + octet).replace(/[.\\]/g, '\\$&'));
      this.at += octet;
    }
    if (back !== undefined) this.at = back;
    return labels.join('.');
  }
}
