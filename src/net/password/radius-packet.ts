/** Packets of RADIUS for a question about a password (RFC 2865 §3, §5.2; RFC 2869 §5.14 for Message-Authenticator). */
import { createHash, createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { isIPv4 } from 'node:net';

const accessRequest = 1;
const accessAccept = 2;
const accessReject = 3;
const headerOctets = 20;

/** Types of attributes. */
const userName = 1;
const userPassword = 2;
const nasIpAddress = 4;
const serviceType = 6;
const nasIdentifier = 32;
const messageAuthenticator = 80;

const authenticateOnly = 8;

/** RFC 2865 §5.1, §5.2. */
export const maxUserOctets = 253;
export const maxPasswordOctets = 128;

export interface AccessRequest {
  readonly octets: Buffer;
  /** The Request Authenticator, by which the reply is known. */
  readonly authenticator: Buffer;
}

export interface AccessQuestion {
  /** 1 to {@link maxUserOctets} octets. */
  readonly user: string;
  /** Up to {@link maxPasswordOctets} octets. */
  readonly password: string;
  /** Who asks: `NAS-Identifier`, up to 253 octets. */
  readonly identifier: string;
  /** `NAS-IP-Address`, an IPv4 address. */
  readonly nasIp?: string | undefined;
}

/** Makes an Access-Request with a new identifier; the same octets are sent again where no reply comes. */
export function accessRequestOf(question: AccessQuestion, secret: Buffer): AccessRequest {
  const authenticator = randomBytes(16);
  const service = Buffer.alloc(4);
  service.writeUInt32BE(authenticateOnly);
  const { nasIp } = question;
  const attributes = Buffer.concat([
    // First, where a forger could put nothing before it.
    attribute(messageAuthenticator, Buffer.alloc(16)),
    attribute(userName, Buffer.from(question.user, 'latin1')),
    attribute(userPassword, hidden(Buffer.from(question.password, 'latin1'), authenticator, secret)),
    attribute(serviceType, service),
    attribute(nasIdentifier, Buffer.from(question.identifier, 'latin1')),
    ...(nasIp !== undefined && isIPv4(nasIp)
      ? [attribute(nasIpAddress, Buffer.from(nasIp.split('.').map(Number)))]
      : []),
  ]);
  const octets = Buffer.concat([Buffer.alloc(4), authenticator, attributes]);
  octets.writeUInt8(accessRequest, 0);
  octets.writeUInt8(randomInt(256), 1);
  octets.writeUInt16BE(octets.length, 2);
  createHmac('md5', secret)
    .update(octets)
    .digest()
    .copy(octets, headerOctets + 2);
  return { octets, authenticator };
}

function attribute(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length + 2]), value]);
}

/** RFC 2865 §5.2: each block of 16 octets XORed with a digest of the secret and of the block before. */
export function hidden(password: Buffer, authenticator: Buffer, secret: Buffer): Buffer {
  const out = Buffer.alloc(Math.max(16, Math.ceil(password.length / 16) * 16));
  password.copy(out);
  let previous = authenticator;
  for (let at = 0; at < out.length; at += 16) {
    const digest = createHash('md5').update(secret).update(previous).digest();
    for (let i = 0; i < 16; i++) out.writeUInt8(out.readUInt8(at + i) ^ digest.readUInt8(i), at + i);
    previous = out.subarray(at, at + 16);
  }
  return out;
}

export type AccessReply =
  | { readonly kind: 'accept' | 'reject' }
  /** A genuine reply of another kind, a challenge for instance. */
  | { readonly kind: 'other'; readonly code: number }
  /** Has no Message-Authenticator, which anybody between may have made (CVE-2024-3596). */
  | { readonly kind: 'unsigned' }
  /** Not a reply to this request from someone who has the secret: as if it had not come (RFC 2865 §3). */
  | { readonly kind: 'none' };

/** @param signed only replies with a Message-Authenticator count */
export function readReply(
  octets: Buffer,
  request: AccessRequest,
  secret: Buffer,
  signed: boolean,
): AccessReply {
  const none = { kind: 'none' } as const;
  if (octets.length < headerOctets) return none;
  const length = octets.readUInt16BE(2);
  if (length < headerOctets || length > octets.length || length > 4096) return none;
  if (octets.readUInt8(1) !== request.octets.readUInt8(1)) return none;
  const packet = octets.subarray(0, length);
  const digest = createHash('md5')
    .update(packet.subarray(0, 4))
    .update(request.authenticator)
    .update(packet.subarray(headerOctets))
    .update(secret)
    .digest();
  if (!timingSafeEqual(digest, packet.subarray(4, headerOctets))) return none;
  const at = findAttribute(packet, messageAuthenticator);
  if (at === 'malformed') return none;
  if (at === undefined && signed) return { kind: 'unsigned' };
  if (at !== undefined && !isSigned(packet, at, request, secret)) return none;
  const code = packet.readUInt8(0);
  if (code === accessAccept) return { kind: 'accept' };
  return code === accessReject ? { kind: 'reject' } : { kind: 'other', code };
}

/** Where the value of the attribute begins. */
function findAttribute(packet: Buffer, type: number): number | 'malformed' | undefined {
  let found: number | undefined;
  for (let at = headerOctets; at < packet.length; ) {
    const length = at + 1 < packet.length ? packet.readUInt8(at + 1) : 0;
    if (length < 2 || at + length > packet.length) return 'malformed';
    if (packet.readUInt8(at) === type) {
      if (found !== undefined || (type === messageAuthenticator && length !== 18)) return 'malformed';
      found = at + 2;
    }
    at += length;
  }
  return found;
}

/** The signature is made over the packet with the Request Authenticator and with zeros in its own place. */
function isSigned(packet: Buffer, at: number, request: AccessRequest, secret: Buffer): boolean {
  const unsigned = Buffer.from(packet);
  request.authenticator.copy(unsigned, 4);
  unsigned.fill(0, at, at + 16);
  const expected = createHmac('md5', secret).update(unsigned).digest();
  return timingSafeEqual(expected, packet.subarray(at, at + 16));
}
