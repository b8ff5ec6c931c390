/** The key and certificate of a TLS server, kept up with their files. */
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { MailError } from '../mail/mail-error.ts';

export interface TlsIdentity {
  /** PEM: the certificate and those between it and the root. */
  readonly certificateFile: string;
  /** PEM, without a password. Default: it stands in the certificate's file, as Exim and Dovecot have it too. */
  readonly privateKeyFile?: string;
  /** OpenSSL's list of ciphers (Exim: `tls_require_ciphers`, Dovecot: `ssl_cipher_list`); TLS 1.3's by their names. Default Node's. */
  readonly ciphers?: string;
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
}

/** What new connections get. */
export interface TlsContexts {
  /** Read anew where a file has changed; connections that are open keep theirs. */
  current(): SecureContext;
}

/** Files are looked at no more often than this. */
const lookMs = 1_000;

/**
 * Reads both files; throws MailError('CONNECT') where they cannot be used. Later, a pair that cannot be used (a renewal
 * has written only one of the two yet) leaves the old one in use and is told of once.
 */
export function openTlsContexts(identity: TlsIdentity, onProblem: (error: unknown) => void): TlsContexts {
  const files = [identity.certificateFile, identity.privateKeyFile ?? identity.certificateFile];
  let known = stateOf(files);
  let context = load(identity);
  let lookAtMs = performance.now() + lookMs;
  return {
    current() {
      const now = performance.now();
      if (now < lookAtMs) return context;
      lookAtMs = now + lookMs;
      const state = stateOf(files);
      if (state === known) return context;
      known = state;
      try {
        context = load(identity);
      } catch (error) {
        onProblem(error);
      }
      return context;
    },
  };
}

function stateOf(files: readonly string[]): string {
  return files
    .map((file) => {
      const s = statSync(file, { throwIfNoEntry: false, bigint: true });
      return s === undefined ? 'missing' : `${s.dev} ${s.ino} ${s.size} ${s.mtimeNs}`;
    })
    .join();
}

function load({ certificateFile, privateKeyFile, ciphers, minVersion }: TlsIdentity): SecureContext {
  try {
    return createSecureContext({
      cert: readFileSync(certificateFile),
      key: readFileSync(privateKeyFile ?? certificateFile),
      minVersion: minVersion ?? 'TLSv1.2',
      ...(ciphers === undefined ? {} : { ciphers }),
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const what =
      privateKeyFile === undefined ? certificateFile : `${certificateFile} with the key ${privateKeyFile}`;
    throw new MailError('CONNECT', `cannot use the certificate ${what}: ${why}`, { cause });
  }
}
