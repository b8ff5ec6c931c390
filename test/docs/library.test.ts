// The examples of docs/library.md, as they stand there: from the sources, and from the tarball that npm would publish.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import {
  connectLmtp,
  createLmtpPool,
  isSyntaxError,
  MailError,
  messageFromBytes,
  parseAddress,
  SessionError,
} from '../../src/lmtp/client/index.ts';
import { createLmtpServer, reply } from '../../src/lmtp/server/index.ts';
import { startDovecot } from '../support/dovecot.ts';
import { needs, needsRoot } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const root = path.resolve(import.meta.dirname, '../..');
const temporary = temporaryFolder('library');
// Dovecot's processes of other users must come through.
chmodSync(temporary.path, 0o755);

/** The code blocks of the document that begin with a comment naming their file. */
function examples(): Map<string, string> {
  const text = readFileSync(path.join(root, 'docs/library.md'), 'utf8');
  const blocks = [...text.matchAll(/^```js\n(\/\/ (\S+)\n.*?)^```$/gms)];
  return new Map(blocks.map(([, code = '', name = '']) => [name, code]));
}

/** A project that has the examples and `install`s the package; gives its folder. */
function project(name: string, install: (modules: string) => void): string {
  const folder = path.join(temporary.path, name);
  const modules = path.join(folder, 'node_modules/mailchute');
  mkdirSync(modules, { recursive: true });
  install(modules);
  for (const [file, code] of examples()) writeFileSync(path.join(folder, file), code);
  return folder;
}

/** Runs a module in the project with plain `node`; gives what it printed as JSON. */
async function run(folder: string, code: string): Promise<unknown> {
  writeFileSync(path.join(folder, 'main.mjs'), code);
  const { code: exit, output } = await runToEnd(process.execPath, ['main.mjs'], { cwd: folder });
  assert.equal(exit, 0, output);
  return JSON.parse(output);
}

const message = 'Subject: caf\u00e9\r\n\r\n.dots\r\n..\r\n.\r\n';

/** The client's example against the server's. */
async function eachOther(folder: string): Promise<void> {
  const words = await run(
    folder,
    `import { server, listener } from './server.mjs';
import { close, deliver } from './client.mjs';
const bytes = Buffer.from(${JSON.stringify(message)});
const to = ['alice@example.test', 'nobody@example.test', 'bob@example.test', 'alice@example.test'];
const words = [
  await deliver(listener.address, 'carol@example.test', to, bytes),
  await deliver(listener.address, '', ['bob@example.test'], bytes),
  await deliver({ kind: 'unix', path: './nowhere.sock' }, '', ['bob@example.test'], bytes),
];
await close();
await server.close();
console.log(JSON.stringify(words));`,
  );
  assert.deepEqual(words, [['delivered', 'bounce', 'delivered', 'delivered'], ['delivered'], ['retry']]);
  for (const user of ['alice', 'bob']) {
    const mail = path.join(folder, 'mail', user);
    const files = readdirSync(mail);
    assert.equal(files.length, 2, user);
    for (const file of files) assert.equal(readFileSync(path.join(mail, file), 'utf8'), message);
  }
}

/** The sources under the package's name: the link leads out of node_modules, where Node strips types. */
function linkSources(modules: string): void {
  const { name, exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const source = (entry: { default: string }): string =>
    entry.default.replace('./dist/', './src/').replace('.js', '.ts');
  const subpaths = ['./lmtp/client', './lmtp/server'].map((p) => [p, source(exports[p])]);
  writeFileSync(
    path.join(modules, 'package.json'),
    JSON.stringify({ name, type: 'module', exports: Object.fromEntries(subpaths) }),
  );
  symlinkSync(path.join(root, 'src'), path.join(modules, 'src'));
}

suite('docs/library.md', { timeout: 120_000 }, () => {
  after(() => temporary.remove());

  test('the examples work together', async () => {
    assert.deepEqual([...examples().keys()], ['server.mjs', 'client.mjs']);
    await eachOther(project('sources', linkSources));
  });

  test('errors are those of the table', async () => {
    const server = createLmtpServer(
      { hostname: 'store.example.test', dsn: true },
      { begin: async () => ({ refused: reply(450, '4.3.2', 'later') }) },
    );
    const listener = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    await using pool = createLmtpPool();
    const address = parseAddress('a@example.test');
    assert.ok(!isSyntaxError(address));
    const envelope = { sender: null, recipients: [{ address }] };
    const content = messageFromBytes(Buffer.from(message));
    const forged = { envelope: { ...envelope, envid: 'a\r\nRSET' }, content };
    await assert.rejects(pool.send(listener.address, forged), RangeError);
    await assert.rejects(connectLmtp(listener.address, { helo: 'a\r\nRSET' }), RangeError);
    const aborted = pool.send(listener.address, { envelope, content }, {}, AbortSignal.abort());
    await assert.rejects(aborted, (e) => e instanceof MailError && e.code === 'ABORTED');
    const nowhere = { kind: 'unix', path: path.join(temporary.path, 'nowhere/lmtp') } as const;
    await assert.rejects(connectLmtp(nowhere), (e) => e instanceof SessionError && e.code === 'CONNECT');
    await assert.rejects(server.listen(nowhere), (e) => e instanceof MailError && e.code === 'CONNECT');
    assert.equal((await pool.send(nowhere, { envelope, content })).kind, 'no-session');
    const sent = await pool.send(listener.address, { envelope, content });
    assert.ok(sent.kind === 'done');
    assert.deepEqual(
      sent.result.recipients.map((r) => r.kind === 'refused' && [r.stage, r.reply.code]),
      [['mail', 450]],
    );
    await server.close();
  });

  test("the client's example delivers into the real Dovecot", {
    skip: needsRoot('dovecot', '/usr/lib/dovecot/lmtp'),
  }, async () => {
    await using dovecot = await dovecotOf(['alice', 'bob']);
    const words = await run(
      project('dovecot', linkSources),
      `import { close, deliver } from './client.mjs';
const to = ['alice@example.test', 'nobody@example.test', 'bob@example.test', 'alice@example.test'];
const bytes = Buffer.from(${JSON.stringify(message)});
const words = [
  await deliver({ kind: 'unix', path: ${JSON.stringify(dovecot.lmtpSocket)} }, 'carol@example.test', to, bytes),
  await deliver({ kind: 'tcp', host: '127.0.0.1', port: ${dovecot.lmtpPort} }, '', ['bob@example.test'], bytes),
];
await close();
console.log(JSON.stringify(words));`,
    );
    assert.deepEqual(words, [['delivered', 'bounce', 'delivered', 'delivered'], ['delivered']]);
    // Dovecot stores a repeated recipient once.
    for (const [user, count] of [
      ['alice', 1],
      ['bob', 2],
    ] as const) {
      const inbox = path.join(dovecot.mail, user, 'new');
      const files = readdirSync(inbox);
      assert.equal(files.length, count, user);
      for (const file of files) {
        const text = readFileSync(path.join(inbox, file), 'utf8').replaceAll('\n', '\r\n');
        assert.ok(text.endsWith(message), text);
      }
    }
  });

  test('the tarball works in plain JavaScript, has its types, and needs no other package for them', {
    skip: needs('tar'),
  }, async () => {
    const source = path.join(temporary.path, 'package');
    mkdirSync(source);
    for (const part of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'bin', 'etc', 'docs'])
      cpSync(path.join(root, part), path.join(source, part), { recursive: true });
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    await done(process.execPath, [
      tsc,
      '-p',
      path.join(root, 'tsconfig.build.json'),
      '--outDir',
      `${source}/dist`,
    ]);
    await done('npm', ['pack', '--ignore-scripts', '--pack-destination', temporary.path], source);
    const tarball = readdirSync(temporary.path).find((f) => f.endsWith('.tgz'));
    assert.ok(tarball !== undefined);

    const folder = project('packed', () => {});
    const modules = path.join(folder, 'node_modules/mailchute');
    await done('tar', ['-xzf', path.join(temporary.path, tarball), '-C', modules, '--strip-components=1']);
    await eachOther(folder);
    // A TypeScript program sees the declarations: the result's kinds are known, and a wrong one is an error.
    const program = (kind: string): string =>
      `import { createLmtpPool, type LmtpRecipientResult } from 'mailchute/lmtp/client';
import { createLmtpServer, reply } from 'mailchute/lmtp/server';
export const isDone = (r: LmtpRecipientResult): boolean => r.kind === '${kind}';
export const pool = createLmtpPool({ maxUses: 1 });
export const server = createLmtpServer({ hostname: 'x' }, { begin: async () => ({ refused: reply(450, '4.3.2', 'later') }) });
`;
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    mkdirSync(path.join(folder, 'node_modules/@types'));
    for (const name of ['@types/node', 'undici-types'])
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
    const check = async (kind: string): Promise<{ code: number | string; output: string }> => {
      writeFileSync(path.join(folder, 'program.ts'), program(kind));
      const words = '--noEmit --strict --module nodenext --target es2022 --lib es2024,esnext.disposable';
      return runToEnd(process.execPath, [tsc, ...words.split(' '), '--types', 'node', 'program.ts'], {
        cwd: folder,
      });
    };
    const good = await check('accepted');
    assert.equal(good.code, 0, good.output);
    const bad = await check('acepted');
    assert.match(bad.output, /program\.ts.*no overlap/);
  });
});

async function done(program: string, words: readonly string[], cwd = root): Promise<void> {
  const { code, output } = await runToEnd(program, words, { cwd });
  assert.equal(code, 0, `${program} ${words.join(' ')}:\n${output}`);
}

async function dovecotOf(
  users: readonly string[],
): Promise<Awaited<ReturnType<typeof startDovecot>> & AsyncDisposable> {
  const dovecot = await startDovecot(path.join(temporary.path, 'dovecot-home'), { users });
  return { ...dovecot, [Symbol.asyncDispose]: () => dovecot.stop() };
}
