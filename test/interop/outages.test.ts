// Ends that go away and come back while mail arrives: nothing is lost, nothing is there twice, nothing is bounced.
import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  pageAcl,
  pageMain,
  pageTcp,
  pageUnix,
  retrySection,
  type StoreAddress,
} from '../support/configurations.ts';
import { startDovecot } from '../support/dovecot.ts';
import { askRcpt, assertOnce, sendLetters, startFlow } from '../support/flow.ts';
import { readInbox } from '../support/imap.ts';
import { type Mailchute, restartMailchute, startMailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, type Running, start, temporaryFolder, until } from '../support/process.ts';
import { mailchuteSend } from '../support/send.ts';
import { startReadStore } from '../support/store.ts';
import { letterText } from '../support/swaks.ts';

/** The page's, with the callout cache that the page turns off, for all but one sender: what that one sends is taken unasked. */
const acl = pageAcl
  .replace(
    'acl_check_rcpt:\n',
    'acl_check_rcpt:\naccept\n        senders = sender@example.test\n        domains = +local_domains\n',
  )
  .replace('/callout=no_cache', '/callout');

const users = ['alice', 'bob', 'carol', 'dave', 'erin'];

/** A store that can be stopped and started again at the same place. */
interface Store {
  readonly address: StoreAddress;
  readonly imapPort: number;
  log(): string;
  stop(): Promise<void>;
  startAgain(): Promise<void>;
  /** For good, with what reads it. */
  end(): Promise<void>;
}

async function ourStore(folder: string): Promise<Store> {
  const first = await startReadStore(folder, users);
  let { store } = first;
  return {
    address: first.address,
    imapPort: first.dovecot.imapPort,
    log: () => store.mainLog(),
    async stop() {
      await store.stop();
      assert.equal(await store.running.ended, 0, store.mainLog().slice(-3000));
    },
    async startAgain() {
      store = await restartMailchute(folder);
    },
    async end() {
      await store.stop();
      await first.stop();
    },
  };
}

async function realDovecot(folder: string): Promise<Store> {
  const first = await startDovecot(folder, { users });
  let again: Running | undefined;
  const stop = async (): Promise<void> => {
    await first.stop();
    await again?.stop();
  };
  return {
    address: { port: first.lmtpPort, socket: first.lmtpSocket },
    imapPort: first.imapPort,
    log: () => first.log(),
    stop,
    async startAgain() {
      again = start('/usr/sbin/dovecot', ['-F', '-c', first.configFile]);
      // IMAP comes with LMTP: one configuration, one master process.
      await until(
        () =>
          readInbox(first.imapPort, 'alice').then(
            () => true,
            () => false,
          ),
        () => `Dovecot answers again: ${again?.output()}`,
      );
    },
    end: stop,
  };
}

const skip = needsRoot('dovecot', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/imap');

describe('outages', { skip, concurrency: 4 }, () => {
  for (const link of ['tcp', 'unix'] as const)
    for (const kind of ['ours', 'Dovecot'] as const)
      describe(`our edge and ${kind === 'ours' ? 'our store' : 'Dovecot'} over ${link}`, {
        concurrency: 1,
      }, () => {
        const folder = temporaryFolder(`outages-${link}`);
        const edgeFolder = path.join(folder.path, 'edge');
        let store: Store;
        let edge: Mailchute;
        let port = 0;

        before(async () => {
          // Dovecot's processes have users of their own.
          chmodSync(folder.path, 0o755);
          store = await (kind === 'ours' ? ourStore : realDovecot)(path.join(folder.path, 'store'));
          const hop = (link === 'tcp' ? pageTcp : pageUnix)(store.address);
          port = await freePort();
          edge = await startMailchute(
            edgeFolder,
            `${pageMain}\ndaemon_smtp_ports = ${port}`,
            acl + hop + retrySection,
          );
        });
        after(async () => {
          await edge?.stop();
          await store?.end();
          folder.remove();
        });

        const logs = (): string => `logs:\n${edge.mainLog().slice(-3000)}\n${store.log().slice(-3000)}`;
        const count = (pattern: RegExp): number => edge.mainLog().match(pattern)?.length ?? 0;
        /** What the edge says to RCPT after it has asked the store, or its cache. */
        const ask = (user: string): Promise<string> =>
          askRcpt(port, 'asker@example.test', `${user}@example.test`);
        /** SIGTERM, and an orderly end. */
        const stopEdge = async (): Promise<void> => {
          await edge.stop();
          assert.equal(await edge.running.ended, 0, logs());
        };
        /** Whatever was taken is through. */
        const settled = (): Promise<boolean> =>
          until(
            () => count(/ <= /g) === count(/ Completed$/gm),
            () => `${count(/ <= /g)} messages are completed, not ${count(/ Completed$/gm)}; ${logs()}`,
          );
        /** Takes this many more messages with two recipients each, and puts every recipient off. */
        async function queued(
          name: string,
          to: readonly string[],
          letters: number,
        ): Promise<readonly string[]> {
          const [taken, completed] = [count(/ <= /g), count(/ Completed$/gm)];
          const accepted = await sendLetters(name, port, to, letters);
          const ids = [...edge.mainLog().matchAll(/^.{20}(\S+) <= /gm)].slice(taken).map((m) => m[1]);
          assert.equal(ids.length, letters);
          for (const user of to)
            await until(
              () =>
                ids.every((id) =>
                  new RegExp(` ${id} == ${user}@example\\.test R=myusers T=mylmtp .*defer \\(`).test(
                    edge.mainLog(),
                  ),
                ),
              () => `every letter is put off for ${user}; ${logs()}`,
            );
          assert.equal(count(/ Completed$/gm), completed);
          return accepted;
        }

        test('mail that arrives while the store is stopped waits, and is delivered once when it is back', async () => {
          const to = ['alice', 'bob'];
          const earlier = await sendLetters('before', port, to, 10);
          await settled();
          await store.stop();
          const meanwhile = await queued('meanwhile', to, 20);
          assert.match(
            edge.mainLog(),
            / == alice@example\.test R=myusers T=mylmtp defer \((111|2)\)[^\n]*: (Connection refused|No such file or directory)\n/,
          );
          await store.startAgain();
          const later = await sendLetters('after', port, to, 10);
          await settled();
          await assertOnce(store.imapPort, to, { accepted: [...earlier, ...meanwhile, ...later] });
        });

        test('the edge is stopped with mail in its queue and started again: it is delivered once', async () => {
          const to = ['carol', 'alice'];
          await store.stop();
          const accepted = await queued('queued', to, 10);
          await stopEdge();
          await store.startAgain();
          edge = await restartMailchute(edgeFolder);
          await settled();
          await assertOnce(store.imapPort, to, { accepted });
        });

        test('a callout while the store is stopped gives 451 and is not remembered', async () => {
          await store.stop();
          for (const user of ['dave', 'nobody', 'dave']) assert.match(await ask(user), /^451 /);
          assert.match(
            edge.mainLog(),
            /F=<asker@example\.test> temporarily rejected RCPT <dave@example\.test>: /,
          );
          await store.startAgain();
          // A store that gave no session is left alone for some seconds.
          await until(async () => !(await ask('dave')).startsWith('451'), 'the store is asked again');
          const to = ['dave@example.test'];
          const letter = { from: 'asker@example.test', to, content: letterText('prompt', 'hello') };
          const sent = await mailchuteSend(folder.path, port, letter);
          assert.match(sent.output, /: accepted: 250 /);
          assert.equal(await ask('nobody'), '550 invalid recipient');
          await settled();
          await assertOnce(store.imapPort, ['dave'], { accepted: ['prompt'] });
        });

        if (kind === 'ours')
          test('store and edge are stopped and started while mail flows', async () => {
            const to = ['dave', 'bob'];
            const flow = startFlow('flowing', port, to, 4);
            await flow.moreAccepted(30);
            await store.stop();
            // What the store said to callouts is remembered, and nothing else is.
            assert.match(await ask('dave'), /^250 /);
            assert.equal(await ask('nobody'), '550 invalid recipient');
            assert.match(await ask('erin'), /^451 /);
            await flow.moreAccepted(30);
            await store.startAgain();
            assert.match(await ask('erin'), /^250 /);
            await flow.moreAccepted(30);
            await stopEdge();
            edge = await restartMailchute(edgeFolder);
            await flow.moreAccepted(30);
            const told = await flow.stop();
            await settled();
            await assertOnce(store.imapPort, to, told);
          });

        if (kind === 'ours')
          test('SIGHUP while mail flows: the new configuration serves, a wrong one does not, and nothing is lost', async () => {
            const to = ['carol', 'erin'];
            const { configFile } = edge;
            const right = readFileSync(configFile, 'latin1');
            const wider = right.replace(
              'local_domains = example.test',
              'local_domains = example.test : added.test',
            );
            const started = (): number => count(/daemon started: pid=/g);
            const added = (): Promise<string> => askRcpt(port, 'sender@example.test', 'erin@added.test');
            const flow = startFlow('reload', port, to, 4);
            await flow.moreAccepted(20);
            assert.match(await added(), /^550 relay not permitted/);
            for (const text of [right, wider]) {
              writeFileSync(configFile, text);
              const before = started();
              edge.running.kill('SIGHUP');
              await until(
                () => started() === before + 1,
                () => `the daemon starts again; ${logs()}`,
              );
              await flow.moreAccepted(20);
            }
            assert.match(await added(), /^250 /);
            appendFileSync(configFile, '\nbegin nonsense\n');
            const before = started();
            edge.running.kill('SIGHUP');
            const panic = path.join(edgeFolder, 'log/paniclog');
            await until(
              () => existsSync(panic) && /the old one goes on/.test(readFileSync(panic, 'latin1')),
              () => `the daemon says that the configuration is wrong; ${logs()}`,
            );
            await flow.moreAccepted(20);
            assert.equal(started(), before);
            const told = await flow.stop();
            await settled();
            assert.equal(
              edge.running.pid,
              Number(readFileSync(path.join(edgeFolder, 'mailchute.pid'), 'latin1')),
            );
            await assertOnce(store.imapPort, to, told);
          });

        test('nothing bounced, and nobody complained', () => {
          assert.doesNotMatch(edge.mainLog(), / \*\* | <= <> /);
          if (kind === 'ours') assert.doesNotMatch(store.log(), /Error|Panic/);
        });
      });
});
