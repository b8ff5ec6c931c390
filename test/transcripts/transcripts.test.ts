import { globSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import type { Endpoint } from '../../src/mail/endpoint.ts';
import { makeCertificate, type CertificateFiles } from '../support/certificate.ts';
import { needs } from '../support/peers.ts';
import { temporaryFolder } from '../support/process.ts';
import { startDovecot, startExim, type Peer } from './peers.ts';
import { readTranscript, replay, type Transcript } from './replay.ts';
import { eximLimits, newSeen, startLmtp, startSmtp } from './servers.ts';

const all = globSync('*.{smtp,lmtp}', { cwd: import.meta.dirname })
  .sort()
  .map((f) => readTranscript(path.join(import.meta.dirname, f)));
const ending = (extension: string, peer: string): Transcript[] =>
  all.filter((t) => t.file.endsWith(extension) && t.peers.includes(peer));
const number = (t: Transcript, name: string, otherwise: number): number =>
  Number(t.options.get(name) ?? otherwise);

const isOn = (t: Transcript, name: string): boolean => t.options.get(name) === 'yes';
const folder = temporaryFolder('transcripts');
after(() => folder.remove());
let made: CertificateFiles | undefined;
const certificate = (): CertificateFiles => (made ??= makeCertificate(folder.path));

async function againstOurs(t: Transcript, octetwise: boolean): Promise<void> {
  const seen = newSeen();
  const errors = number(t, 'errors', 3);
  const listener = t.file.endsWith('.smtp')
    ? await startSmtp(seen, {
        enforceSync: t.options.get('sync') !== 'off',
        dsn: true,
        limits: {
          ...eximLimits,
          maxSyntaxErrors: errors,
          maxUnknownCommands: errors,
          maxNonMailCommands: number(t, 'nonmail', 0),
          maxMessageOctets: number(t, 'size', eximLimits.maxMessageOctets),
        },
      })
    : await startLmtp(
        seen,
        {
          limits: { maxBadCommands: number(t, 'errors', 10), maxMessageOctets: number(t, 'size', 0) },
          smtputf8: isOn(t, 'smtputf8'),
          ...(isOn(t, 'dsn') ? { dsn: 'unoffered' } : {}),
        },
        {
          trusts: () => isOn(t, 'trusted'),
          ...(isOn(t, 'tls') ? { tls: certificate() } : {}),
        },
      );
  try {
    await replay(t, listener.address, { octetwise });
  } finally {
    await listener.close(1_000);
  }
  const broken = seen.errors.filter((e) => !/broken/.test(String(e)));
  assert.deepEqual(broken, []);
}

describe('our sessions', () => {
  assert.ok(all.length > 0);
  for (const t of all) {
    const skip = isOn(t, 'tls') && needs('openssl');
    it(path.basename(t.file), { skip }, () => againstOurs(t, false));
    // What a client sends too early shows only when it comes together; long lines would take long.
    if (!/^(?:sync|long)-/.test(path.basename(t.file)))
      it(`${path.basename(t.file)}, octet by octet`, { skip }, () => againstOurs(t, true));
  }
});

describe('the real Exim', { skip: needs('exim4') }, () => {
  for (const t of ending('.smtp', 'exim')) {
    it(path.basename(t.file), async () => {
      const errors = number(t, 'errors', 3);
      const exim = await startExim({
        smtp_max_synprot_errors: String(errors),
        smtp_max_unknown_commands: String(errors),
        smtp_accept_max_nonmail: String(number(t, 'nonmail', 100)),
        smtp_enforce_sync: t.options.get('sync') === 'off' ? 'false' : 'true',
        message_size_limit: String(number(t, 'size', eximLimits.maxMessageOctets)),
      });
      try {
        await replay(t, exim.endpoint, { ignoreStatus: true });
      } finally {
        await exim.stop();
      }
    });
  }
});

describe('the real Dovecot', { skip: needs('dovecot', '/usr/lib/dovecot/lmtp', 'openssl') }, () => {
  for (const [name, setup] of [
    ['as it comes', {}],
    ['trusting the client', { trusted: true }],
    ['with TLS', { tls: true, trusted: true }],
  ] as const) {
    describe(name, () => {
      let dovecot: Peer;
      before(async () => {
        dovecot = await startDovecot(setup);
      });
      after(() => dovecot.stop());
      for (const t of ending('.lmtp', 'dovecot')) {
        if (isOn(t, 'trusted') !== 'trusted' in setup || isOn(t, 'tls') !== 'tls' in setup) continue;
        it(path.basename(t.file), () => {
          const endpoint: Endpoint = dovecot.endpoint;
          return replay(t, endpoint);
        });
      }
    });
  }
});
