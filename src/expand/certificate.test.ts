import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assert as check, property, uint8Array, integer } from 'fast-check';
import { certificateField } from './certificate.ts';
import { expandText } from './expand.ts';
import { scopeWith } from './test-scope.ts';

/** Self-signed, RSA; subject, alternative names, OCSP and CRL places of a made-up host. */
const der = Buffer.from(
  [
    'MIIFKTCCBBGgAwIBAgIJAKGyw9Tl9gcYMA0GCSqGSIb3DQEBCwUAMIGgMQswCQYDVQQGEwJHQjEaMBgGA1UECgwRRXhhbXBs',
    'ZSwgTHRkICsgQ28xDDAKBgNVBAsMA0h1YjEYMBYGA1UEAwwPbXguZXhhbXBsZS50ZXN0MSAwHgYJKoZIhvcNAQkBFhFwb3N0',
    'QGV4YW1wbGUudGVzdDEXMBUGCgmSJomT8ixkARkWB2V4YW1wbGUxEjAQBgoJkiaJk/IsZAEZFgJ4eTAeFw0yNjExMjYxNTA4',
    'MjhaFw0yNzEyMzExNTA4MjhaMIGgMQswCQYDVQQGEwJHQjEaMBgGA1UECgwRRXhhbXBsZSwgTHRkICsgQ28xDDAKBgNVBAsM',
    'A0h1YjEYMBYGA1UEAwwPbXguZXhhbXBsZS50ZXN0MSAwHgYJKoZIhvcNAQkBFhFwb3N0QGV4YW1wbGUudGVzdDEXMBUGCgmS',
    'JomT8ixkARkWB2V4YW1wbGUxEjAQBgoJkiaJk/IsZAEZFgJ4eTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL9B',
    'K/NzhPi+AiLgiZZAUW08WgyL2FnDyIJ3ZPZL9ChW9R6j2cS1o7EET6+SLT95wuOAeC2AK8kWx547VXUQSRC6wMX9orRzVLF1',
    '6PTUFbrom3BaNM+6az44pS1Y8WxmS6ATT2QJZlnOnwfh1m8IuhoPyZfCGOwBA7HnE5wq3rFaA0plMopsmrfnuLSzqKt/MpWF',
    '51NYSMi8UveJk3OdY5jDafoxw0YKUW4NnqdFenvSS5XpesxhgDlBmGmRJ7fAwqrLRPQlp1wbr0Asq0pEKPncJ+YMzkXkLWMT',
    '0aH3iAMBVzRTBUEMON2rf7cwScimrb7sWQjEwx2FTsS6+0ZPyaUCAwEAAaOCAWIwggFeMF0GA1UdEQRWMFSCD214LmV4YW1w',
    'bGUudGVzdIIOKi5leGFtcGxlLnRlc3SGGGh0dHBzOi8vZXhhbXBsZS50ZXN0L3g6eYERcG9zdEBleGFtcGxlLnRlc3SHBMAA',
    'AgEwgYgGCCsGAQUFBwEBBHwwejAlBggrBgEFBQcwAYYZaHR0cDovL29jc3AuZXhhbXBsZS50ZXN0LzAmBggrBgEFBQcwAYYa',
    'aHR0cDovL29jc3AyLmV4YW1wbGUudGVzdC8wKQYIKwYBBQUHMAKGHWh0dHA6Ly9jYS5leGFtcGxlLnRlc3QvY2EuY3J0MFMG',
    'A1UdHwRMMEowI6AhoB+GHWh0dHA6Ly9jcmwuZXhhbXBsZS50ZXN0L2EuY3JsMCOgIaAfhh1odHRwOi8vY3JsLmV4YW1wbGUu',
    'dGVzdC9iLmNybDAdBgNVHQ4EFgQUg26Wz2HO7WhsdVvU33S8GW67noEwDQYJKoZIhvcNAQELBQADggEBAHC6hwyqJQPZCHZ6',
    'UvT+o8WoYFoLdVkFuXBBxH98JYplpLk3Oa7pThcEQtO85LyJRaUG8Awj4XP/4/kNYZNWZJdOga0XF4MhRqLHGs0lUcgFVTyJ',
    '4C4DrwXP9LbJ6sWDlrR+S6s7/MtOc8aXdXrNkfVkysKDA601vzMq6b3btTfTHUTkzSY8dgctn0C0lANt+36m35FHBU8tOUbt',
    'JLjj/jitF6VSljDTsMpWDfoGlRch8APEoWcMy9/iZAvprMt278h7eC0hHd10LULX4ExeCgUJInGupMUAPQSWO8MgXoxc5pIK',
    'JXA0OfKS2yAHpvGiuP9iBAuJ9VMlP6eWEJUyd4w=',
  ].join(''),
  'base64',
);

const field = (selector: string): ReturnType<typeof certificateField> => certificateField(selector, der);

describe('certextract', () => {
  // As exim4 4.96 with GnuTLS answers for $tls_in_ourcert of this certificate.
  it('gives the fields as Exim does', () => {
    const expected: readonly (readonly [string, string | undefined])[] = [
      ['version', '3'],
      ['serial_number', 'a1b2c3d4e5f60718'],
      [
        'subject',
        'C=GB,O=Example\\, Ltd \\+ Co,OU=Hub,CN=mx.example.test,EMAIL=post@example.test,DC=example,DC=xy',
      ],
      ['subject,CN', 'mx.example.test'],
      ['subject,DC', 'example\nxy'],
      ['subject,O', 'Example, Ltd \\+ Co'],
      ['subject,>;,OU', 'Hub'],
      ['subject,X', undefined],
      ['issuer,DC', 'example\nxy'],
      ['notbefore', 'Nov 26 15:08:28 2026 GMT'],
      ['notafter,int', '1830265708'],
      ['sig_algorithm', 'RSA-SHA256'],
      [
        'subj_altname',
        'DNS=mx.example.test\nDNS=*.example.test\nURI=https://example.test/x:y\nMAIL=post@example.test',
      ],
      ['subj_altname,dns,>;', 'mx.example.test;*.example.test'],
      [
        'subj_altname,>:',
        'DNS=mx.example.test:DNS=*.example.test:URI=https:://example.test/x::y:MAIL=post@example.test',
      ],
      ['ocsp_uri,>;', 'http://ocsp.example.test/;http://ocsp2.example.test/'],
      ['crl_uri,>+', 'http://crl.example.test/a.crl+http://crl.example.test/b.crl'],
    ];
    for (const [selector, value] of expected) assert.equal(field(selector), value, selector);
    const signature = field('signature');
    assert.ok(typeof signature === 'string');
    assert.match(signature, /^70 ba 87 0c aa(?: [0-9a-f]{2}){251}$/);
    assert.deepEqual(field('bad'), { reason: 'bad field selector "bad" for certextract' });
  });

  it('never throws for what is no certificate', () => {
    check(
      property(
        uint8Array({ maxLength: 200 }),
        (octets) => void certificateField('subject', Buffer.from(octets)),
      ),
    );
    check(
      property(integer({ min: 0, max: der.length - 1 }), integer({ min: 0, max: 255 }), (at, octet) => {
        const broken = Buffer.from(der);
        broken[at] = octet;
        for (const f of ['subject', 'subj_altname', 'notafter', 'crl_uri', 'ocsp_uri'])
          certificateField(f, broken);
      }),
      { numRuns: 1000 },
    );
  });

  it('is reached by the variable, whose digests are those of the certificate', async () => {
    const scope = scopeWith({ certificates: new Map([['tls_in_peercert', der]]) });
    const source =
      '${certextract{subject,CN}{$tls_in_peercert}{[$value]}{no}}|${certextract{version}{$tls_out_peercert}{y}{no}}|${md5:$tls_in_peercert}|${length_3:${base64:$tls_in_peercert}}';
    assert.deepEqual(await expandText(source, scope), {
      kind: 'ok',
      text: '[mx.example.test]|no|19D2E32591367840EFFD81EAA567B1F7|MII',
      tainted: true,
    });
  });
});
