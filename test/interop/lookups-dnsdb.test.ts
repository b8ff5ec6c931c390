// dnsdb against one scripted DNS server: the real Exim in a network namespace of its own, where the server has port 53 and
// /etc/resolv.conf names it, and ours outside on a high port.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { expandText } from '../../src/expand/expand.ts';
import type { ExpandScope } from '../../src/expand/scope.ts';
import { createDnsdb } from '../../src/lookup/drivers/dnsdb.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import { createDnsClient } from '../../src/net/dns/client.ts';
import { parseZone, startDnsServer, type DnsServer } from '../support/dns-server.ts';
import { zone } from '../support/dns-zone.ts';
import { namespaced, needsNamespaces } from '../support/namespace.ts';
import { eximSpool } from '../support/exim-be.ts';
import { needsRoot } from '../support/peers.ts';
import { temporaryFolder } from '../support/process.ts';

const queries: readonly string[] = [
  'a=a.test',
  'aaaa=a.test',
  'a+=a.test',
  'a+=six.test',
  'a+=b.test',
  'a=www.test',
  'a=far.test',
  'a=unchased.test',
  'a=loop.test',
  'a=dangling.test',
  'a=nothere.test',
  'aaaa=b.test',
  'cname=www.test',
  'cname=a.test',
  'mx=mx.test',
  'mxh=mx.test',
  'mx=nullmx.test',
  'mxh=nullmx.test',
  'mx=a.test',
  'ns=test',
  'ns=a.test',
  'zns=a.test',
  'zns=x.sub.zone.test',
  'zns=x.y.z.sub.zone.test',
  'zns=nothere',
  'soa=test',
  'soa=a.b.test',
  'soa=x.sub.zone.test',
  '>:,; soa=a.test',
  '>:,# soa=test',
  '>#,soa=test',
  'txt=txt.test',
  'txt.test',
  '>: txt=txt.test',
  '>:,; txt=txt.test',
  '>:,+ txt=txt.test',
  '>;, txt=txt.test',
  '>, txt=txt.test',
  '>\\n; txt=txt.test',
  '>\\n,: txt=txt.test',
  'spf=spf.test',
  'spf=spftxt.test',
  'spf=txt.test',
  'srv=_smtp._tcp.srv.test',
  '>:,/ srv=_smtp._tcp.srv.test',
  '>: mx=mx.test',
  '>:,/ mx=mx.test',
  'tlsa=_25._tcp.a.test',
  '>:,/ tlsa=_25._tcp.a.test',
  'ptr=192.0.2.1',
  'ptr=2001:db8::1',
  'ptr=2001:db8::1:192.0.2.1',
  'ptr=<; 192.0.2.1 ; 2001:db8::1',
  'ptr=1.2.0.192.in-addr.arpa',
  'ptr=192.0.2.77',
  'a=a.test:b.test',
  'a=a.test:nothere.test',
  'a=nothere.test:b.test',
  'a=nothere.test:nothere2.test',
  'a=<; a.test ; b.test',
  '>; a=a.test:b.test',
  '>  a=a.test',
  'a=fail.test',
  'a=fail.test:a.test',
  'a=a.test:fail.test',
  'defer_strict,a=a.test:fail.test',
  'defer_strict,a=fail.test',
  'defer_never,a=fail.test',
  'defer_never,a=fail.test:a.test',
  'defer_lax,a=a.test:fail.test',
  'defer_lax,a=nothere.test:fail.test',
  'defer_foo,a=a.test',
  'dnssec_strict,a=a.test',
  'dnssec_strict,a=secure.test',
  'dnssec_lax,a=secure.test',
  'dnssec_never,a=secure.test',
  'dnssec_strict,defer_never,a=a.test',
  'defer_never,dnssec_strict,a=a.test:secure.test',
  'retrans_1s,retry_1,a=a.test',
  'retrans_x,a=a.test',
  'retry_2,a=a.test',
  'retrans_1s,a=drop.test',
  'foo=a.test',
  'foo,a=a.test',
  'A=a.test',
  'MX = mx.test',
  'a = a.test',
  ' a=a.test',
  '=a.test',
  'a=',
  'a=refused.test',
  'csa=csa.test',
  'csa=csano.test',
  'csa=csaport.test',
  'csa=csax.test',
  'csa=csaold.test',
  'csa=csalow.test',
  'csa=sub.csasub.test',
  'csa=x.sub.csa.test',
  'csa=nothere.test',
  'csa=192.0.2.1',
  'txt=long.test',
  'txt=weird.test',
  'a=a..test',
  'a=A.TEST',
  'a=a.test.',
  '>x a=a.test',
  '>, a=a.test',
  'ptr=192.0.2.9',
  'a=a_b.test',
  'mxh=mx.test:foreign.test',
  'a+=a.test:b.test',
  'a+=nothere.test:fail.test',
  'a=.',
  'txt=',
  'defer_strict,a=fail.test:a.test',
  'csa=x.csa.test',
  'csa=x.y.inner.csa.test',
  'csa=inner.csa.test',
  'csa=x.csaport.test',
  'csa=a.b.csaport.test',
  'csa=nothere',
  'csa=nodata.csaport.test',
  'csa=x.plain.alone',
  'csa=x.y.plain.alone',
  'csa=plain.alone',
  'aaaa=zeros.test',
  'aaaa=ones.test',
  'aaaa=mapped.test',
  'dnssec_strict,a=nothere.test',
  'dnssec_strict,defer_strict,a=secure.test:a.test',
  'ptr=::1',
  'ptr=a.test',
  'defer_strict, dnssec_never , a=a.test',
  'retry_x,a=a.test',
  'dnssec_foo,a=a.test',
  '>',
  '> ',
  '>:',
  '',
  'mx=missingmx.test',
  'a=[192.0.2.1]',
  'a=192.0.2.1',
  'ns=sub.zone.test',
  'soa=nothere.invalid',
];

/**
 * Where ours is meant to differ. The manual says that CSA records of parents are searched for where the name has none; Exim
 * 4.96 does so only where the name exists all the same (as `nodata` does).
 */
const differences: ReadonlyMap<string, string> = new Map(
  ['x.y.inner.csa.test', 'x.csaport.test', 'a.b.csaport.test', 'x.plain.alone', 'x.y.plain.alone'].map(
    (name) => [`csa=${name}`, '<X csahost.test|no>'],
  ),
);

suite('dnsdb lookups agree with the real Exim', { skip: needsRoot('exim4') || needsNamespaces() }, () => {
  const folder = temporaryFolder('dnsdb');
  let server: DnsServer;
  before(async () => {
    server = await startDnsServer(parseZone(zone));
  });
  after(async () => {
    await server.stop();
    folder.remove();
  });

  test(`${queries.length} queries`, async () => {
    const questions = queries.map(
      (q) => `\${escape:\${lookup dnsdb{${q}}{<$value|$lookup_dnssec_authenticated>}{none}}}`,
    );
    const config = path.join(folder.path, 'exim.conf');
    writeFileSync(
      config,
      `primary_hostname = mx.example.test\n${eximSpool(folder.path)}keep_environment =\ndns_retrans = 10s\ndns_retry = 1\n`,
    );
    chmodSync(config, 0o644);
    const input = path.join(folder.path, 'questions');
    writeFileSync(input, `${questions.join('\n')}\n`, 'latin1');
    const output = await namespaced(folder.path, zone, `exim4 -C ${config} -be < ${input}`);
    const theirs = output
      .split('\n')
      .map((l) => l.replace(/^(?:> )+/, ''))
      .filter((l) => /^(?:<.*>|none)$|^Failed: /.test(l))
      .map((l) => (l.startsWith('Failed: ') ? 'defer' : l));
    assert.equal(theirs.length, queries.length, output);

    const client = createDnsClient({
      settings: () => ({
        servers: [{ address: '127.0.0.1', port: server.port }],
        timeoutMs: 10_000,
        attempts: 1,
      }),
    });
    const scope: ExpandScope = {
      main: {
        primaryHostname: 'mx.example.test',
        qualifyDomain: 'example.test',
        qualifyRecipient: 'example.test',
        spoolDirectory: '/',
        configFile: '/dev/null',
      },
      services: { lookup: createLookups([createDnsdb({ client })]), matchList: () => ({ kind: 'no' }) },
    };
    const different: string[] = [];
    for (const [i, question] of questions.entries()) {
      const r = await expandText(question, scope);
      const mine = r.kind === 'ok' ? r.text : r.kind;
      const query = queries[i] ?? '';
      if (mine !== (differences.get(query) ?? theirs[i]))
        different.push(`${query}: exim ${theirs[i]}, ours ${mine}`);
    }
    assert.deepEqual(different, []);
  });
});
