// The examples of docs/library.md, as they stand there: from the sources, and from the tarball that npm would publish.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
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
const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
const temporary = temporaryFolder('library');
// Dovecot's processes of other users must come through.
chmodSync(temporary.path, 0o755);

/** The code blocks of the document that begin with a comment naming their file. */
function examples(): Map<string, string> {
  const text = readFileSync(path.join(root, 'docs/library.md'), 'utf8');
  const blocks = [...text.matchAll(/^```ts\n(\/\/ (\S+)\n.*?)^```$/gms)];
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
    `import { server, listener } from './server.ts';
import { close, deliver } from './client.ts';
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
    assert.deepEqual([...examples().keys()], ['server.ts', 'client.ts']);
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
      `import { close, deliver } from './client.ts';
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

  test('the tarball is installed offline; the examples compile against its declarations and run', {
    skip: needs('npm'),
  }, async () => {
    const tarball = await packTarball(temporary.path);
    const folder = path.join(temporary.path, 'consumer');
    mkdirSync(folder);
    // The two entries need no other package: what the rest needs is not even there.
    const overrides = Object.fromEntries(['koffi', 'lmdb'].map((name) => [name, `file:./empty/${name}`]));
    for (const name of ['koffi', 'lmdb']) {
      mkdirSync(path.join(folder, 'empty', name), { recursive: true });
      writeFileSync(
        path.join(folder, 'empty', name, 'package.json'),
        JSON.stringify({ name, version: '3.999.0' }),
      );
    }
    const dependencies = { mailchute: `file:${tarball}` };
    writeFileSync(
      path.join(folder, 'package.json'),
      JSON.stringify({ private: true, type: 'module', dependencies, overrides }),
    );
    await done('npm', ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts'], folder);
    for (const [file, code] of examples()) writeFileSync(path.join(folder, file), code);
    mkdirSync(path.join(folder, 'node_modules/@types'), { recursive: true });
    for (const name of ['@types/node', 'undici-types'])
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));

    const good = await compile(folder, ['server.ts', 'client.ts']);
    assert.equal(good.code, 0, good.output);
    await eachOther(folder);
    // The declarations are seen: a kind that does not exist is an error.
    const wrong = [...examples()].map(([, code]) =>
      code.replace("'unknown'", "'unknwon'").replace("'accepted'", "'acepted'"),
    );
    for (const [i, file] of ['server-wrong.ts', 'client-wrong.ts'].entries()) {
      writeFileSync(path.join(folder, file), wrong[i] ?? '');
      const bad = await compile(folder, [file]);
      assert.match(bad.output, /error TS(?:2322|2367|2769):/, file);
    }
  });

  test('every name that is exported has a comment', () => {
    const bare: string[] = [];
    let names = 0;
    for (const entry of ['src/lmtp/server/index.ts', 'src/lmtp/client/index.ts']) {
      const text = readFileSync(path.join(root, entry), 'utf8');
      for (const [, list = '', from = ''] of text.matchAll(
        /^export (?:type )?\{([^}]*)\} from '([^']+)'/gm,
      )) {
        const source = readFileSync(path.join(root, path.dirname(entry), from), 'utf8');
        for (const name of list.split(',').map((n) => n.replace('type ', '').trim())) {
          if (name === '') continue;
          names++;
          const declared = new RegExp(
            `\\*/\\nexport (?:async )?(?:interface|type|function|class|const) ${name}\\b`,
          );
          if (!declared.test(source)) bare.push(name);
        }
      }
    }
    assert.ok(names > 40);
    assert.deepEqual(bare, []);
  });

  test('publint and attw find nothing wrong with the tarball', { skip: needs('npm') }, async () => {
    const tarball = readFileSync(await packTarball(temporary.path));
    const { messages, pkg } = await publint({ pack: { tarball: bufferOf(tarball) }, strict: true });
    assert.deepEqual(
      messages.map((m) => formatMessage(m, pkg)),
      [],
    );
    const analysis = await checkPackage(createPackageFromTarballData(tarball));
    assert.ok(analysis.types !== false, 'the package has types');
    // The package is ESM only: what resolves like Node 10 finds no subpaths, and CommonJS loads it by require of ESM (Node 22.12).
    const problems = analysis.problems.filter(
      (p) => p.kind !== 'CJSResolvesToESM' && !('resolutionKind' in p && p.resolutionKind === 'node10'),
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(Object.keys(analysis.entrypoints).sort(), [
      './lmtp/client',
      './lmtp/server',
      './package.json',
    ]);
  });
});

/** Compiles, strictly, as a project beside the package would. */
function compile(
  folder: string,
  files: readonly string[],
): Promise<{ code: number | string; output: string }> {
  const words =
    '--noEmit --strict --module nodenext --target es2022 --lib es2024,esnext.disposable --types node';
  const typescript = ['--allowImportingTsExtensions', '--erasableSyntaxOnly', '--verbatimModuleSyntax'];
  return runToEnd(process.execPath, [tsc, ...words.split(' '), ...typescript, ...files], { cwd: folder });
}

let packed: Promise<string> | undefined;

/** What `npm publish` would send, built once; gives its path. */
function packTarball(folder: string): Promise<string> {
  return (packed ??= pack(folder));
}

async function pack(folder: string): Promise<string> {
  const source = path.join(folder, 'package');
  mkdirSync(source);
  for (const part of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'bin', 'etc', 'docs'])
    cpSync(path.join(root, part), path.join(source, part), { recursive: true });
  await done(process.execPath, [
    tsc,
    '-p',
    path.join(root, 'tsconfig.build.json'),
    '--outDir',
    `${source}/dist`,
  ]);
  await done('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], source);
  const tarball = readdirSync(folder).find((f) => f.endsWith('.tgz'));
  assert.ok(tarball !== undefined);
  return path.join(folder, tarball);
}

function bufferOf(bytes: Buffer): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.length);
  bytes.copy(new Uint8Array(copy));
  return copy;
}

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
