import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { expandText } from './expand.ts';
import { messageFacts, scopeWith } from './test-scope.ts';

let folder = '';
let questions = 0;
const servers: Server[] = [];

/** Answers what it got once the client is done; `NOSHUT` at once, `HANG` never, `FLOOD` without end. */
function answering(): Server {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    questions++;
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text === 'NOSHUT') socket.end(`got[${text}]`, 'latin1');
      if (text === 'FLOOD') {
        const flood = (): void => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65_536, 'x')));
        };
        socket.on('drain', flood);
        flood();
      }
    });
    socket.on('end', () => {
      if (text !== 'HANG' && text !== 'NOSHUT' && text !== 'FLOOD')
        socket.end(`got[${text}]\nline 2\n`, 'latin1');
    });
  });
  servers.push(server);
  return server;
}

const listening = (server: Server, where: object): Promise<void> =>
  new Promise((resolve) => server.listen(where, resolve));

let port = 0;
before(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-socket-'));
  await listening(answering(), { path: path.join(folder, 'socket') });
  const tcp = answering();
  await listening(tcp, { host: '127.0.0.1', port: 0 });
  const address = tcp.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
after(() => {
  for (const server of servers) {
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

const scope = scopeWith({ message: messageFacts() });
async function ask(source: string): Promise<string> {
  const r = await expandText(source.replaceAll('@', folder).replaceAll('PORT', String(port)), scope);
  return r.kind === 'ok' ? r.text : `Failed: ${r.reason}`;
}

describe('readsocket', () => {
  it('asks over UNIX sockets and TCP', async () => {
    assert.equal(await ask('${readsocket{@/socket}{hello}}'), 'got[hello]\nline 2\n');
    assert.equal(await ask('${readsocket{@/socket}{}{3s}{,}}'), 'got[],line 2,');
    assert.equal(
      await ask('${readsocket{inet:127.0.0.1:PORT}{caf\\303\\251}{3s}{,}}'),
      'got[caf\xc3\xa9],line 2,',
    );
    assert.equal(await ask('${readsocket{inet:[127.0.0.1]:PORT}{a}{3s}{,}}'), 'got[a],line 2,');
    assert.equal(await ask('${readsocket{inet:localhost:PORT}{a}{3s}{,}}'), 'got[a],line 2,');
  });

  it('leaves the sending side open when told', async () => {
    assert.equal(await ask('${readsocket{@/socket}{NOSHUT}{3s:shutdown=no}}'), 'got[NOSHUT]');
  });

  it('gives up in time, and takes the failure text', async () => {
    assert.equal(await ask('${readsocket{@/socket}{HANG}{1s}}'), 'Failed: socket read timed out');
    assert.equal(await ask('${readsocket{@/socket}{HANG}{1s}{}{sorry}}'), 'sorry');
    assert.equal(await ask('${readsocket{@/none}{x}{1s}{}{sorry}}'), 'sorry');
    assert.equal(
      await ask('${readsocket{@/none}{x}}'),
      `Failed: failed to connect to socket ${folder}/none: No such file or directory`,
    );
    assert.match(
      await ask('${readsocket{inet:127.0.0.1:PORT}{x}{1s:tls=yes}}'),
      /^Failed: TLS connect failed/,
    );
  });

  it('bounds the answer', async () => {
    assert.match(await ask('${readsocket{@/socket}{FLOOD}{9s}}'), /longer than 4194304 octets/);
  });

  it('keeps an answer for the message where told', async () => {
    const before = questions;
    const cached = '${readsocket{@/socket}{same}{3s:cache=yes}{,}}';
    assert.equal(await ask(cached), 'got[same],line 2,');
    assert.equal(await ask(cached), 'got[same],line 2,');
    assert.equal(questions, before + 1);
    assert.equal(await ask('${readsocket{@/socket}{other}{3s:cache=yes}{,}}'), 'got[other],line 2,');
    assert.equal(await ask('${readsocket{@/socket}{same}{3s}{,}}'), 'got[same],line 2,');
    assert.equal(questions, before + 3);
  });
});
