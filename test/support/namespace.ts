// Commands in a network and mount namespace of their own, where a scripted DNS server answers on port 53.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { findProgram } from './peers.ts';
import { runToEnd } from './process.ts';

const unshare = findProgram('unshare') ?? '/usr/bin/unshare';

/** For `skip`: false where namespaces can be made. */
export function needsNamespaces(): string | false {
  const { status } = spawnSync(unshare, ['-mn', 'ip', 'link', 'set', 'lo', 'up'], { timeout: 10_000 });
  return status === 0 ? false : 'needs network namespaces';
}

const program = path.join(import.meta.dirname, 'dns-server.ts');

/** Runs a shell command there and gives its output. */
export async function namespaced(folder: string, zone: string, command: string): Promise<string> {
  const [zoneFile, resolver, log] = ['zone', 'resolv.conf', 'dns.log'].map((n) => path.join(folder, n));
  writeFileSync(zoneFile ?? '', zone, 'latin1');
  writeFileSync(resolver ?? '', 'nameserver 127.0.0.1\noptions timeout:10 attempts:1 trust-ad edns0\n');
  const script = `
    ip link set lo up
    mount --bind ${resolver} /etc/resolv.conf
    : > ${log}
    ${process.execPath} ${program} ${zoneFile} 53 >> ${log} 2>&1 &
    server=$!
    for i in $(seq 200); do grep -q listening ${log} && break; sleep 0.1; done
    grep -q listening ${log} || { cat ${log}; kill $server; exit 99; }
    ${command}
    kill $server`;
  const { code, output } = await runToEnd(unshare, ['-mn', 'sh', '-c', script]);
  if (code === 99) throw new Error(`the DNS server does not listen: ${output}`);
  return output;
}
