// Random command lines, the same for every run, given to the real Dovecot and to ours: the replies must be the same words.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { needs } from '../support/peers.ts';
import { startDovecot } from './peers.ts';
import { LineReader } from './replay.ts';
import { newSeen, startLmtp } from './servers.ts';

/** Marsaglia's xorshift: numbers below `bound`. */
function randomFrom(seed: number): (bound: number) => number {
  let x = seed;
  return (bound) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % bound;
  };
}

const words = (text: string): string[] => text.split(' ');

// What is left out are the differences of docs/store.md.
const pieces = words(
  'user1 user2 nobody a.b a..b .a a. % - _ = xxxxxxxxxxxxxxxxxxxx \xc3\xa9 "user1" (c) , ; : @ @@ < > \t \\ \x01 \xe9 ' +
    'example.test [192.0.2.1] [IPv6:::1] [x] b..c .c c. @one.test,@two.test: @one.test:',
).concat(' ', '"a b"');
const parameters = words(
  'BODY=7BIT BODY=8BITMIME body=x BODY SIZE=1 SMTPUTF8 RET=FULL NOTIFY=NEVER ENVID=x ORCPT=rfc822;a@b ORCPT=x ' +
    'ORCPT=rfc822;+4 ORCPT XRCPTFORWARD=YQ FOO FOO=a FOO=a=b = -a=b A_B=c',
);
const others =
  `RSET|RSET|RSET x|NOOP|NOOP a|NOOP a b|NOOP "a b"|VRFY|VRFY a|VRFY a@b|HELP|EXPN a|FOO||DATA|DATA x|STARTTLS|AUTH PLAIN|
QUIT x|MAIL|RCPT|MAIL FROM|RCPT TO|LHLO|EHLO x|HELO x|MAIL FROM:<a@b.test>|MAIL  FROM:<>|mail from:<>|LHLO c.test|LHLO  x`
    .replace('\n', '')
    .split('|');
const xclient = words(
  'ADDR=192.0.2.1 ADDR=IPV6:::1 ADDR=x ADDR PORT=1 PORT=0 TTL=1 TTL=x TIMEOUT=-1 PROTO=smtp PROTO=x HELO=+20 HELO=+2 ' +
    'LOGIN=a=b FOO =',
);

/** A command line, one octet a character. */
function makeLine(random: (bound: number) => number): string {
  const some = (list: readonly string[], most: number, between = ''): string =>
    Array.from({ length: random(most + 1) }, () => list[random(list.length)]).join(between);
  const path = (): string =>
    random(3) === 0
      ? `<user${1 + random(4)}@example.test>`
      : `${random(9) === 0 ? '' : '<'}x${some(pieces, 2)}${random(2) === 0 ? '@' : ''}${some(pieces, 2)}${random(9) === 0 ? '' : '>'}`.replace(
          random(2) === 0 ? '<x' : '<<',
          '<',
        );
  const params = random(2) === 0 ? '' : some(parameters, 2, ' ');
  switch (random(8)) {
    case 0:
    case 1:
      return `MAIL FROM:${path()}${params === '' ? '' : ` ${params}`}`;
    case 2:
    case 3:
    case 4:
      return `RCPT TO:${path()}${params === '' ? '' : ` ${params}`}`;
    case 5:
      return `XCLIENT ${some(xclient, 2, ' ')}`;
    default:
      return others[random(others.length)] ?? '';
  }
}

class Talker {
  readonly #port: number;
  #socket: Socket | undefined;
  #lines: LineReader | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** The reply to a command without host names; a greeting for its code alone. */
  async say(line: string): Promise<string> {
    if (this.#socket === undefined) {
      this.#socket = connect(this.#port, '127.0.0.1');
      this.#lines = new LineReader(this.#socket, 10_000);
      await once(this.#socket, 'connect');
      await this.#lines.next();
    }
    this.#socket.write(`${line}\r\n`, 'latin1');
    let reply: string | undefined;
    do reply = await this.#lines?.next();
    while (reply?.[3] === '-');
    if (reply === undefined || reply.startsWith('421')) this.hangUp();
    return (reply ?? '(closed)').replace(/^220 .*/, '220').replace(/^(421 \S+) \S+/, '$1');
  }

  hangUp(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

describe('random commands', { skip: needs('dovecot', '/usr/lib/dovecot/lmtp') }, () => {
  it('are answered by ours as by the real Dovecot', async () => {
    const dovecot = await startDovecot({ trusted: true });
    const ours = await startLmtp(newSeen(), {}, { trusts: () => true });
    try {
      assert.ok(dovecot.endpoint.kind === 'tcp' && ours.address.kind === 'tcp');
      const theirs = new Talker(dovecot.endpoint.port);
      const own = new Talker(ours.address.port);
      const random = randomFrom(20_330_821);
      const since: string[] = [];
      for (let i = 0; i < 2_000; i++) {
        const line = makeLine(random);
        since.push(line);
        const [wanted, got] = await Promise.all([theirs.say(line), own.say(line)]);
        assert.equal(got, wanted, JSON.stringify(since.slice(-5)));
        // A transaction may have got as far as its content.
        if (wanted.startsWith('354')) {
          theirs.hangUp();
          own.hangUp();
        }
      }
      theirs.hangUp();
      own.hangUp();
    } finally {
      await ours.close(200);
      await dovecot.stop();
    }
  });
});
