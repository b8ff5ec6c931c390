/** The server's side of a TLS connection on a socket that is open already; whom to trust and when to start is the caller's. */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';

/** What a handshake came to, as Received fields and logs show it. */
export interface TlsFacts {
  /** `TLSv1.3`. */
  readonly protocol: string;
  /** OpenSSL's name: `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES256-GCM-SHA384`. */
  readonly cipher: string;
  /** Of the cipher's key; 0 where its name does not tell. */
  readonly bits: number;
}

/**
 * Wraps the socket, whose reading must be left to the result. The handshake runs as the client's octets come; `onSecure`
 * is called once when it is done. What goes wrong, then or later, is an `error` and the end of the socket.
 */
export function acceptTls(socket: Socket, context: SecureContext, onSecure: () => void): TLSSocket {
  const secure = new TLSSocket(socket, { isServer: true, secureContext: context });
  secure.once('secure', onSecure);
  // Node tells faults of an accepted socket by this event alone once the handshake is done, and leaves the rest to us.
  secure.on('_tlsError', (error: Error) => secure.destroy(error));
  return secure;
}

export function tlsFactsOf(secure: TLSSocket): TlsFacts {
  const { name } = secure.getCipher();
  return { protocol: secure.getProtocol() ?? 'TLS', cipher: name, bits: keyBits(name) };
}

function keyBits(cipher: string): number {
  if (cipher.includes('CHACHA20')) return 256;
  const bits = /(?:AES|CAMELLIA|ARIA)[_-]?(128|256)/.exec(cipher)?.[1];
  return bits === undefined ? 0 : Number(bits);
}

/** OpenSSL's words without its file names and thread numbers: `wrong version number`. */
export function tlsFaultText(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error.message;
  const match = /^ERR_SSL_(\w+)$/.exec(code)?.[1];
  return match === undefined ? error.message : match.toLowerCase().replaceAll('_', ' ');
}
