import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { lmtpTalk } from '../../../test/support/lmtp-talk.ts';
import { at, startFront } from '../../../test/support/proxy-world.ts';
import { startScriptedServer, type Act, type Script } from '../../../test/support/scripted-server.ts';

const offers = {
  chunking: '250-b\r\n250-PIPELINING\r\n250 CHUNKING\r\n',
  data: '250-b\r\n250 PIPELINING\r\n',
  plain: '250 b\r\n',
  xclient: '250-b\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 XCLIENT ADDR SESSION TTL\r\n',
} as const;
const letter = 'Subject: x\r\n\r\nhi\r\n';
const large = `Subject: large\r\n\r\n${`${'0123456789'.repeat(7)}\r\n`.repeat(40_000)}`;
const users = ['a', 'b', 'c'];

/** What a client is told that sends to a, b, c (all at the backend), a user held here, and d at a backend that works. */
async function through(
  script: Script,
  timeoutMs = 20_000,
  content = letter,
): Promise<{ rcpt: string[]; ends: string[]; contents: readonly Buffer[]; log: string }> {
  await using bad = await startScriptedServer({ protocol: 'lmtp', ...script }, 'tcp');
  await using good = await startScriptedServer({ protocol: 'lmtp', helo: () => offers.data }, 'tcp');
  const target = at(bad.endpoint, { timeoutMs });
  await using front = await startFront({
    users: { a: target, b: target, c: target, here: undefined, d: at(good.endpoint) },
  });
  await using talk = await lmtpTalk(front.endpoint);
  const to = ['a', 'here', 'b', 'd', 'c'].map((u) => `${u}@example.test`);
  const { rcpt, ends } = await talk.transaction('s@x.test', to, content);
  const plain = (t: string): string => t.replace(/[A-Za-z0-9_-]{22}(?::R\d)?/g, 'ID');
  assert.equal(front.stored.length, 1);
  assert.equal(good.contents.length, 1);
  return { rcpt: rcpt.map(plain), ends: ends.map(plain), contents: bad.contents, log: front.log.join('\n') };
}

const saved = (u: string): string => `250 2.0.0 <${u}@example.test> ID Saved`;
const lost = '451 4.4.0 Proxy failed (connection lost, session=ID)';
const nonsense = '451 4.4.0 Proxy failed (bad reply, session=ID)';
const late = '451 4.4.0 Proxy failed (timed out, session=ID)';
const lateEnd = (u: string): string =>
  `451 4.4.0 <${u}@example.test> Remote server not answering (transaction timed out while waiting for reply to DATA)`;

for (const [kind, helo] of Object.entries(offers)) {
  const base: Script = { helo: () => helo };

  test(`${kind}: dies at each stage`, async () => {
    const dies: Act = { say: '', close: true };
    const atRcpt = (rcpt: string[]): void =>
      assert.deepEqual(rcpt, [lost, '250 2.1.5 OK', lost, '250 2.1.5 ok', lost]);
    atRcpt((await through({ ...base, rcpt: () => dies })).rcpt);
    atRcpt((await through({ ...base, mail: () => dies })).rcpt);
    const refused = '451 4.4.0 Proxy failed (connect, session=ID)';
    assert.deepEqual(
      (await through({ ...base, banner: dies })).rcpt.filter((_, i) => i % 2 === 0),
      [refused, refused, refused],
    );
    assert.deepEqual(
      (await through({ helo: () => dies })).rcpt.filter((_, i) => i % 2 === 0),
      [refused, refused, refused],
    );
    // The second RCPT: the first had its 250 in the dialogue and gets the truth after the content.
    const second = await through({ ...base, rcpt: (_, i) => (i === 1 ? dies : '250 2.1.5 ok\r\n') });
    assert.deepEqual(second.rcpt, ['250 2.1.5 ok', '250 2.1.5 OK', lost, '250 2.1.5 ok', lost]);
    assert.deepEqual(second.ends, [lost, saved('here'), saved('d')]);
    const none = await through({ ...base, content: () => dies });
    assert.deepEqual(none.ends, [lost, saved('here'), lost, saved('d'), lost]);
    const some = await through({ ...base, content: (i) => (i === 1 ? dies : '250 2.0.0 ok\r\n') });
    assert.deepEqual(some.ends, [saved('a'), saved('here'), lost, saved('d'), lost]);
  });

  test(`${kind}: too few replies, malformed ones, 3xx, 421, too many`, async () => {
    const few = await through({ ...base, content: (i) => (i === 2 ? '' : '250 2.0.0 ok\r\n') }, 300);
    assert.deepEqual(few.ends, [saved('a'), saved('here'), saved('b'), saved('d'), lateEnd('c')]);
    const malformed = await through({
      ...base,
      content: (i) => (i === 1 ? 'hello\r\n' : '250 2.0.0 ok\r\n'),
    });
    assert.deepEqual(malformed.ends, [saved('a'), saved('here'), nonsense, saved('d'), nonsense]);
    const odd = await through({ ...base, content: (i) => (i === 0 ? '354 go\r\n' : '250 2.0.0 ok\r\n') });
    assert.deepEqual(odd.ends, [nonsense, saved('here'), saved('b'), saved('d'), saved('c')]);
    const going = await through({
      ...base,
      content: (i) => (i === 1 ? '421 4.3.2 bye\r\n' : '250 2.0.0 ok\r\n'),
    });
    assert.deepEqual(going.ends, [saved('a'), saved('here'), lost, saved('d'), lost]);
    const rcpt = await through({ ...base, rcpt: (_, i) => (i === 0 ? '354 go\r\n' : '250 2.1.5 ok\r\n') });
    assert.deepEqual(rcpt.rcpt, [nonsense, '250 2.1.5 OK', nonsense, '250 2.1.5 ok', nonsense]);
    // A reply too many to RCPT would be taken for the next one's.
    const many = await through({
      ...base,
      rcpt: (_, i) => (i === 0 ? '250 1\r\n250 2\r\n' : '550 5.1.1 no\r\n'),
    });
    assert.equal(many.rcpt[1], '250 2.1.5 OK');
    assert.ok(many.rcpt[2]?.startsWith('451 4.4.0'), many.rcpt[2]);
    assert.ok(!many.ends[0]?.startsWith('2') || many.ends.length === 2, many.ends.join());
    assert.equal(many.contents.length, 0);
  });

  test(`${kind}: silence at each stage ends at the deadline`, async () => {
    const silent = await through({ ...base, rcpt: () => '' }, 200);
    assert.deepEqual(silent.rcpt, [late, '250 2.1.5 OK', late, '250 2.1.5 ok', late]);
    assert.deepEqual((await through({ ...base, banner: '' }, 200)).rcpt, silent.rcpt);
    assert.deepEqual((await through({ ...base, content: () => '' }, 200)).ends, [
      lateEnd('a'),
      saved('here'),
      lateEnd('b'),
      saved('d'),
      lateEnd('c'),
    ]);
    // Now and then a line, and never the end of a reply: that is no progress.
    const drip = await through(
      { ...base, content: () => ({ say: '250-a\r\n', endless: '250-a\r\n', everyMs: 20 }) },
      400,
    );
    assert.ok(drip.ends[0]?.startsWith('451 4.4.0'), drip.ends[0]);
    assert.equal(drip.ends[1], saved('here'));
    // A large message that is not taken.
    const deaf = await through(
      { ...base, rcpt: (_, i) => (i === 2 ? { say: '250 2.1.5 ok\r\n', deaf: true } : '250 2.1.5 ok\r\n') },
      300,
      large,
    );
    assert.deepEqual(deaf.ends, [lateEnd('a'), saved('here'), lateEnd('b'), saved('d'), lateEnd('c')]);
  });

  test(`${kind}: a large message is streamed; an early refusal is believed, an early 250 is not`, async () => {
    const whole = await through(base, 20_000, large);
    assert.deepEqual(whole.ends, ['a', 'here', 'b', 'd', 'c'].map(saved));
    assert.ok(whole.contents[0]?.toString('latin1').endsWith(large));
    const early = await through(
      { ...base, early: { say: '250 2.0.0 ok\r\n250 ok\r\n250 ok\r\n', close: true } },
      20_000,
      large,
    );
    for (const i of [0, 2, 4]) assert.ok(early.ends[i]?.startsWith('451 4.4.0'), early.ends[i]);
  });

  test(`${kind}: texts are one line within 240 octets with their codes`, async () => {
    const long = await through({
      ...base,
      rcpt: (_, i) => (i === 0 ? `550-5.1.1 ${'x '.repeat(450)}\r\n550 5.1.1 last\r\n` : '250 2.1.5 ok\r\n'),
      content: () => `452-4.2.2 <a@example.test> ${'y '.repeat(450)}\r\n452 4.2.2 \x1b[2J\x07\r\n`,
    });
    for (const reply of [...long.rcpt, ...long.ends]) {
      assert.ok(reply.length <= 238 && !/[\n\x00-\x1f]/.test(reply), reply);
    }
    assert.ok(long.rcpt[0]?.startsWith('550 5.1.1 <a@example.test> x x'));
    assert.ok(long.ends[1]?.startsWith('452 4.2.2 <b@example.test> y y'), long.ends[1]);
    const endless = await through({ ...base, content: () => ({ say: '', endless: '250-more\r\n' }) });
    assert.ok(endless.ends[0]?.startsWith('451 4.4.0'), endless.ends[0]);
  });
}

test("DATA that is refused is everybody's answer; a 2xx to it is none", async () => {
  const refused = await through({ helo: () => offers.data, data: '554 5.5.0 no data\r\n' });
  assert.deepEqual(refused.ends, [
    '554 5.5.0 <a@example.test> no data',
    saved('here'),
    '554 5.5.0 <b@example.test> no data',
    saved('d'),
    '554 5.5.0 <c@example.test> no data',
  ]);
  const odd = await through({ helo: () => offers.data, data: '250 2.0.0 ok\r\n' });
  assert.deepEqual(odd.ends, [nonsense, saved('here'), nonsense, saved('d'), nonsense]);
});

test('property: whatever the backend says, every recipient keeps its own reply, and 250 is only of its own 2xx', async () => {
  const one = fc.constantFrom(
    '250 2.0.0 ok',
    '451 4.3.0 later',
    '550 5.7.1 no',
    '354 go',
    '421 4.3.2 bye',
    'junk',
    '',
    'close',
  );
  const act = (text: string, who: string): Act => {
    if (text === 'close') return { say: '', close: true };
    return text === '' ? '' : `${text} ${who}\r\n`;
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.values(offers)),
      fc.array(one, { minLength: 3, maxLength: 3 }),
      fc.array(one, { minLength: 3, maxLength: 3 }),
      async (helo, atRcpt, atEnd) => {
        const accepted: string[] = [];
        const got = await through(
          {
            helo: () => helo,
            rcpt: (path, i) => {
              const text = atRcpt[i] ?? '';
              if (text.startsWith('2')) accepted.push(path.charAt(0));
              return act(text, `r-${path.charAt(0)}`);
            },
            content: (i) => act(atEnd[i] ?? '', `e-${accepted[i]}`),
          },
          150,
        );
        const names = ['a', 'here', 'b', 'd', 'c'];
        const told = names.filter((_, i) => got.rcpt[i]?.startsWith('2'));
        assert.equal(got.ends.length, told.length);
        told.forEach((name, i) => {
          const end = got.ends[i] ?? '';
          if (name === 'here' || name === 'd') return assert.equal(end, saved(name));
          const said = atEnd[accepted.indexOf(name)] ?? '';
          if (end.startsWith('2'))
            assert.ok(end === saved(name) && said.startsWith('2'), `${end} for ${said}`);
          else if (end.includes('e-'))
            assert.ok(end.includes(`<${name}@example.test>`) && end.endsWith(`e-${name}`), end);
          else assert.match(end, /^451 4\.4\.0 /);
          return undefined;
        });
        users.forEach((name) => {
          const reply = got.rcpt[names.indexOf(name)] ?? '';
          if (reply.includes('r-')) assert.ok(reply.endsWith(`r-${name}`), reply);
          else assert.match(reply, /^451 4\.4\.0 /);
        });
      },
    ),
    { numRuns: 60 },
  );
});
