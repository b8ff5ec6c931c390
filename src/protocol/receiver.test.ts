import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Receiver, type ReceiverEvent, type ReceiverLimits } from './receiver.ts';

const limits: ReceiverLimits = { maxCommandOctets: 64, maxDataLineOctets: 0, maxMessageOctets: 0 };

/** Runs chunks through a receiver; a command `DATA` or `BDAT n` switches the mode, as a session would. */
function events(chunks: readonly Buffer[], o: ReceiverLimits = limits): string[] {
  const receiver = new Receiver(o);
  const out: string[] = [];
  let content = '';
  for (const chunk of chunks) {
    receiver.push(Buffer.from(chunk));
    for (let e: ReceiverEvent = receiver.next(); e.kind !== 'need-more'; e = receiver.next()) {
      switch (e.kind) {
        case 'command': {
          out.push(`command ${JSON.stringify(e.line)}`);
          const octets = /^BDAT (\d+)$/.exec(e.line)?.[1];
          if (e.line === 'DATA') receiver.expectData();
          else if (octets !== undefined) {
            receiver.beginMessage();
            receiver.expectChunk(Number(octets));
          }
          break;
        }
        case 'command-fault':
          out.push(`command-fault ${e.fault}`);
          break;
        case 'content':
          content += e.chunk.toString('latin1');
          break;
        case 'content-fault':
          out.push(`spoilt ${e.fault}`);
          break;
        case 'content-end':
          out.push(e.fault === undefined ? `message ${JSON.stringify(content)}` : `refused ${e.fault}`);
          content = '';
      }
    }
  }
  return out;
}

const run = (text: string, o?: ReceiverLimits): string[] => events([Buffer.from(text, 'latin1')], o);
const bytewise = (text: string, o?: ReceiverLimits): string[] =>
  events(
    [...Buffer.from(text, 'latin1')].map((b) => Buffer.of(b)),
    o,
  );

function expect(text: string, wanted: readonly string[], o?: ReceiverLimits): void {
  assert.deepEqual(run(text, o), wanted, JSON.stringify(text));
  assert.deepEqual(bytewise(text, o), wanted, `octet by octet: ${JSON.stringify(text)}`);
}

describe('commands', () => {
  it('end at CRLF only', () => {
    expect('NOOP\r\nQUIT\r\n', ['command "NOOP"', 'command "QUIT"']);
    expect('\r\n', ['command ""']);
    expect('NOOP', []);
    expect('NOOP\r', []);
  });
  it('with a bare LF or CR are refused as a whole', () => {
    expect('NO\nOP\r\nQUIT\r\n', ['command-fault bare-lf', 'command "QUIT"']);
    expect('NOOP\n', ['command-fault bare-lf']);
    expect('\nRSET\nQUIT\r\nNOOP\r\n', ['command-fault bare-lf', 'command "NOOP"']);
    expect('NO\rOP\r\nQUIT\r\n', ['command-fault bare-cr', 'command "QUIT"']);
    expect('NOOP\r\r\nQUIT\r\n', ['command-fault bare-cr', 'command "QUIT"']);
    expect('NO\0OP\r\nQUIT\r\n', ['command-fault nul', 'command "QUIT"']);
  });
  it('are bounded, and a line of any length is told once', () => {
    const longest = 'x'.repeat(62);
    expect(`${longest}\r\n`, [`command "${longest}"`]);
    expect(`${longest}y\r\nQUIT\r\n`, ['command-fault too-long', 'command "QUIT"']);
    expect(`${longest}yy\r\nQUIT\r\n`, ['command-fault too-long', 'command "QUIT"']);
    expect(`${'x'.repeat(5000)}\n\n\r\nQUIT\r\n`, ['command-fault too-long', 'command "QUIT"']);
  });
});

describe('DATA', () => {
  it('ends at CRLF.CRLF and loses the stuffed dots', () => {
    expect('DATA\r\n.\r\nQUIT\r\n', ['command "DATA"', 'message ""', 'command "QUIT"']);
    expect('DATA\r\na\r\n..\r\n.b\r\nc.\r\n...d\r\n.\r\n', [
      'command "DATA"',
      'message "a\\r\\n.\\r\\nb\\r\\nc.\\r\\n..d\\r\\n"',
    ]);
    expect('DATA\r\na\r\n', ['command "DATA"']);
    expect('DATA\r\na\r\n.\r', ['command "DATA"']);
  });
  it('is not ended by anything else', () => {
    for (const end of [
      '\n.\n',
      '\n.\r\n',
      '\r.\r\n',
      '\r\n.\n',
      '\r.\r',
      '\r\n.\r',
      '\n.\r',
      '\r\n.\r\r\n',
      '\r\r\n.\n',
    ]) {
      const fault = end.startsWith('\n') || end === '\r\n.\n' ? 'bare-lf' : 'bare-cr';
      expect(`DATA\r\nx${end}MAIL FROM:<evil@example.test>\r\n\r\n.\r\nQUIT\r\n`, [
        'command "DATA"',
        `spoilt ${fault}`,
        `refused ${fault}`,
        'command "QUIT"',
      ]);
    }
  });
  it('finds the real end right behind a fault', () => {
    expect('DATA\r\nx\r\r\n.\r\nQUIT\r\n', [
      'command "DATA"',
      'spoilt bare-cr',
      'refused bare-cr',
      'command "QUIT"',
    ]);
    expect('DATA\r\n.\r\r\n.\r\nQUIT\r\n', [
      'command "DATA"',
      'spoilt bare-cr',
      'refused bare-cr',
      'command "QUIT"',
    ]);
    expect('DATA\r\n\n\r\n.\r\nQUIT\r\n', [
      'command "DATA"',
      'spoilt bare-lf',
      'refused bare-lf',
      'command "QUIT"',
    ]);
  });
  it('is bounded in lines and in all', () => {
    const small = { maxCommandOctets: 64, maxDataLineOctets: 10, maxMessageOctets: 25 };
    expect(
      'DATA\r\n12345678\r\n.2345678\r\n.\r\n',
      ['command "DATA"', 'message "12345678\\r\\n2345678\\r\\n"'],
      small,
    );
    expect(
      'DATA\r\n123456789\r\n.\r\nQUIT\r\n',
      ['command "DATA"', 'spoilt line-too-long', 'refused line-too-long', 'command "QUIT"'],
      small,
    );
    const line = '123456\r\n';
    expect(
      `DATA\r\n${line.repeat(3)}.\r\n`,
      ['command "DATA"', `message ${JSON.stringify(line.repeat(3))}`],
      small,
    );
    expect(
      `DATA\r\n${line.repeat(4)}.\r\nQUIT\r\n`,
      ['command "DATA"', 'spoilt too-big', 'refused too-big', 'command "QUIT"'],
      small,
    );
  });
  it('gives one event for a chunk, however many of its lines begin with a dot', () => {
    const receiver = new Receiver(limits);
    receiver.push(Buffer.from('DATA\r\n'));
    receiver.next();
    receiver.expectData();
    receiver.push(Buffer.from(`${'..x\r\n'.repeat(1000)}.\r\n`));
    const event = receiver.next();
    assert.equal(event.kind === 'content' && event.chunk.toString('latin1'), '.x\r\n'.repeat(1000));
    assert.equal(receiver.next().kind, 'content-end');
  });
  it('gives out a plain message as one view of the chunk, not as a copy', () => {
    const receiver = new Receiver(limits);
    receiver.push(Buffer.from('DATA\r\n'));
    receiver.next();
    receiver.expectData();
    const body = Buffer.from('Subject: x\r\n\r\nhello\r\n.\r\n');
    receiver.push(body);
    const event = receiver.next();
    assert.equal(event.kind === 'content' && event.chunk.buffer, body.buffer);
    assert.equal(event.kind === 'content' && event.chunk.length, body.length - 3);
    assert.equal(receiver.next().kind, 'content-end');
    assert.equal(receiver.hasInput, false);
  });
});

describe('BDAT', () => {
  it('takes exactly its octets and needs no dots', () => {
    expect('BDAT 8\r\na\r\n.\r\n\r\nBDAT 0\r\nQUIT\r\n', [
      'command "BDAT 8"',
      'message "a\\r\\n.\\r\\n\\r\\n"',
      'command "BDAT 0"',
      'message ""',
      'command "QUIT"',
    ]);
  });
  it('refuses bare CR and LF within a message', () => {
    expect('BDAT 3\r\na\nbQUIT\r\n', [
      'command "BDAT 3"',
      'spoilt bare-lf',
      'refused bare-lf',
      'command "QUIT"',
    ]);
    expect('BDAT 4\r\na\rbcQUIT\r\n', [
      'command "BDAT 4"',
      'spoilt bare-cr',
      'refused bare-cr',
      'command "QUIT"',
    ]);
  });
  it('lets a CRLF run over the border of two chunks, and no lone CR end a message', () => {
    const receiver = new Receiver(limits);
    const kinds: string[] = [];
    const feed = (text: string): void => {
      receiver.expectChunk(text.length);
      receiver.push(Buffer.from(text, 'latin1'));
      for (let e = receiver.next(); ; e = receiver.next()) {
        kinds.push(e.kind === 'content-end' ? `end ${e.fault}` : e.kind);
        if (e.kind === 'content-end') return;
      }
    };
    receiver.beginMessage();
    feed('a\r');
    feed('\nb\r');
    assert.equal(receiver.endOfChunks(), 'bare-cr');
    receiver.beginMessage();
    feed('a\r');
    feed('\nb\r\n');
    assert.equal(receiver.endOfChunks(), undefined);
    assert.equal(receiver.messageOctets, 6);
    assert.deepEqual(kinds, Array.from({ length: 4 }, () => ['content', 'end undefined']).flat());
  });
});

const pieces = fc.constantFrom(
  '\r\n',
  '\n',
  '\r',
  '.',
  '..',
  '\r\n.\r\n',
  'DATA\r\n',
  'BDAT 7\r\n',
  'a',
  'text',
  '\0',
  'MAIL FROM:<>\r\n',
);
const tight: ReceiverLimits = { maxCommandOctets: 24, maxDataLineOctets: 9, maxMessageOctets: 30 };

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

describe('any chunking', () => {
  it('gives the same events', () => {
    fc.assert(
      fc.property(
        fc.array(pieces, { maxLength: 40 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.boolean(),
        (parts, cuts, bounded) => {
          const bytes = Buffer.from(`DATA\r\n${parts.join('')}`, 'latin1');
          const o = bounded ? tight : limits;
          const whole = events([bytes], o);
          assert.deepEqual(events(cut(bytes, cuts), o), whole);
          assert.deepEqual(bytewise(bytes.toString('latin1'), o), whole);
        },
      ),
      { numRuns: 2000 },
    );
  });
  it('brings back what a client stuffed', () => {
    const line = fc.string({ unit: fc.constantFrom('.', 'a', '\xff', ' '), maxLength: 8 });
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 8 }), (lines, cuts) => {
        const content = lines.map((l) => `${l}\r\n`).join('');
        const wire = lines.map((l) => `${l.startsWith('.') ? '.' : ''}${l}\r\n`).join('');
        const bytes = Buffer.from(`DATA\r\n${wire}.\r\n`, 'latin1');
        assert.deepEqual(events(cut(bytes, cuts)), ['command "DATA"', `message ${JSON.stringify(content)}`]);
      }),
      { numRuns: 1000 },
    );
  });
  it('never throws on octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(), { maxLength: 5 }), (octets, cuts) => {
        const bytes = Buffer.from(octets);
        assert.deepEqual(events(cut(bytes, cuts), tight), events([bytes], tight));
      }),
      { numRuns: 1000 },
    );
  });
});
