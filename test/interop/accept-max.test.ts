// smtp_accept_max with two listeners: it bounds the daemon, as the real Exim's counts its processes.
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { openAcl, pageMain, pageUnix, retrySection } from '../support/configurations.ts';
import { startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder } from '../support/process.ts';

function firstLine(port: number): Promise<{ readonly socket: Socket; readonly line: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(10_000, () => socket.destroy(new Error('no greeting')));
    socket.on('error', reject);
    socket.on('data', (chunk) => resolve({ socket, line: chunk.toString('latin1') }));
  });
}

test('smtp_accept_max counts the connections of all listeners', async (t) => {
  const folder = temporaryFolder('accept-max');
  const ports = [await freePort(), await freePort()] as const;
  const edge = await startMailchute(
    folder.path,
    `${pageMain}\nsmtp_accept_max = 2\ndaemon_smtp_ports = ${ports.join(' : ')}`,
    openAcl + pageUnix({ port: 0, socket: `${folder.path}/nobody` }) + retrySection,
  );
  t.after(async () => {
    await edge.stop();
    folder.remove();
  });
  const one = await firstLine(ports[0]);
  const two = await firstLine(ports[1]);
  const three = await firstLine(ports[0]);
  for (const { line } of [one, two]) assert.match(line, /^220 /);
  assert.equal(three.line, '421 Too many concurrent SMTP connections; please try again later.\r\n');
  for (const { socket } of [one, two, three]) socket.destroy();
});
