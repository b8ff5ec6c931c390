// Self-signed certificates, made by the openssl program as they are needed.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { findProgram } from './peers.ts';

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly privateKeyFile: string;
}

/** Writes `name.pem` and `name.key` into the folder, or overwrites them with another pair. */
export function makeCertificate(folder: string, name = 'server'): CertificateFiles {
  const certificateFile = path.join(folder, `${name}.pem`);
  const privateKeyFile = path.join(folder, `${name}.key`);
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=${name}.example.test`;
  execFileSync(
    findProgram('openssl') ?? 'openssl',
    [...words.split(' '), '-keyout', privateKeyFile, '-out', certificateFile],
    {
      stdio: 'ignore',
    },
  );
  return { certificateFile, privateKeyFile };
}
