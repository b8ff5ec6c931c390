import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { Address, Domain, LocalPart } from '../mail/address.ts';
import { headerBody, parseHeaderFields } from '../mail/headers.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { Reply } from '../mail/reply.ts';
import { type BounceFacts, composeBounce } from './bounce.ts';
import type { FailedRecipient } from './failure.ts';

function address(local: string, domain = 'example.test'): Address {
  return { local: local as LocalPart, domain: domain as Domain };
}

const section =
  'Received: by here\r\nFrom: a@example.test\r\nMessage-ID: <abc@example.test>\r\nSubject: hello\r\n\r\n';

function facts(
  over: Partial<BounceFacts> & { readonly body?: Uint8Array; readonly section?: string } = {},
): BounceFacts {
  const { body, section: own, ...rest } = over;
  const text = own ?? section;
  return {
    id: '1xVm4C-0008DU-34' as QueueId,
    to: address('sender'),
    failures: [failed(address('gone'))],
    primaryHostname: 'hub.example.test',
    from: 'Mail Delivery System <Mailer-Daemon@example.test>',
    nowMs: 1_764_000_000_000,
    original: {
      sender: address('sender'),
      receivedAtMs: 1_763_999_000_000,
      headers: parseHeaderFields(text),
      headerSection: Buffer.from(text, 'latin1'),
      ...(body === undefined ? {} : { body }),
    },
    ...rest,
  };
}

function failed(to: Address, over: Partial<FailedRecipient> = {}): FailedRecipient {
  return { address: to, status: { text: 'Unrouteable address', code: '5.1.1' }, timedOut: false, ...over };
}

interface Part {
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

/** A strict reader: every line ends in CRLF and is short enough, every field has a name that occurs once. */
function readPart(text: string, longest = 998): Part {
  const end = text.startsWith('\r\n') ? 0 : text.indexOf('\r\n\r\n') + 2;
  assert.ok(end >= 0, 'the header section ends in a blank line');
  const head = text.slice(0, end);
  const fields = new Map<string, string>();
  for (const field of parseHeaderFields(head)) {
    assert.notEqual(field.name, '', `a field: ${JSON.stringify(field.raw)}`);
    assert.ok(!fields.has(field.name.toLowerCase()), `${field.name} occurs once`);
    fields.set(field.name.toLowerCase(), headerBody(field).replace(/\s+/g, ' '));
  }
  for (const line of head.split('\r\n'))
    assert.ok(line.length <= longest && !/[\r\n\x80-\xff]/.test(line), line);
  return { fields, body: text.slice(end + 2) };
}

interface Report {
  readonly top: Part;
  readonly text: Part;
  readonly perMessage: ReadonlyMap<string, string>;
  readonly perRecipient: readonly ReadonlyMap<string, string>[];
  readonly returned: Part;
}

function readReport(content: Uint8Array): Report {
  const whole = Buffer.from(content).toString('latin1');
  const top = readPart(whole);
  const type = top.fields.get('content-type') ?? '';
  const boundary = /^multipart\/report; report-type=delivery-status; boundary="([^"]+)"$/.exec(type)?.[1];
  assert.ok(boundary !== undefined && boundary.length <= 70, type);
  const pieces = `\r\n${top.body}`.split(`\r\n--${boundary}`);
  assert.equal(pieces.length, 5, 'three parts');
  assert.equal(pieces[0], '');
  assert.equal(pieces[4], '--\r\n');
  const [text, status, returned] = pieces.slice(1, 4).map((piece) => {
    assert.ok(piece.startsWith('\r\n'));
    return readPart(piece.slice(2));
  });
  assert.ok(text !== undefined && status !== undefined && returned !== undefined);
  assert.ok(!/[^\r\n -~]/.test(text.body) && !/[^\r]\n/.test(text.body));
  assert.equal(status.fields.get('content-type'), 'message/delivery-status');
  assert.ok(status.body.endsWith('\r\n'));
  const groups = status.body
    .split('\r\n\r\n')
    .filter((group) => group !== '')
    .map((group) => readPart(`${group}\r\n\r\n`).fields);
  const [perMessage, ...perRecipient] = groups;
  assert.ok(perMessage !== undefined);
  return { top, text, perMessage, perRecipient, returned };
}

describe('composeBounce', () => {
  test('says who failed, why, and gives the message back', () => {
    const reply: Reply = { code: 550, status: '5.1.1', lines: ['<gone> no such user', 'really'] };
    const { content, eightBit } = composeBounce(
      facts({
        body: Buffer.from('body\r\n.dot\r\n'),
        failures: [
          failed(address('gone'), {
            orcpt: 'rfc822;Gone@example.test',
            status: {
              text: 'SMTP error from remote mail server after RCPT TO:<gone@example.test>: 550 no',
              reply,
              peer: 'store.example.test [192.0.2.1]:24',
            },
          }),
          failed(address('slow'), {
            status: { text: 'Connection refused', code: '4.4.1', peer: '/run/lmtp' },
            timedOut: true,
          }),
          failed(address('moved', 'example.com'), { original: address('old') }),
        ],
      }),
    );
    assert.equal(eightBit, false);
    const report = readReport(content);
    assert.equal(report.top.fields.get('from'), 'Mail Delivery System <Mailer-Daemon@example.test>');
    assert.equal(report.top.fields.get('to'), 'sender@example.test');
    assert.equal(report.top.fields.get('auto-submitted'), 'auto-replied');
    assert.equal(
      report.top.fields.get('x-failed-recipients'),
      'gone@example.test, slow@example.test, old@example.test',
    );
    assert.equal(report.top.fields.get('in-reply-to'), '<abc@example.test>');
    assert.equal(report.top.fields.get('references'), '<abc@example.test>');
    assert.equal(report.perMessage.get('reporting-mta'), 'dns; hub.example.test');
    const [first, second, third] = report.perRecipient;
    assert.deepEqual(Object.fromEntries(first ?? []), {
      'original-recipient': 'rfc822;Gone@example.test',
      'final-recipient': 'rfc822;gone@example.test',
      action: 'failed',
      status: '5.1.1',
      'remote-mta': 'dns; store.example.test',
      'diagnostic-code': 'smtp; 550-5.1.1 <gone> no such user 550 5.1.1 really',
    });
    assert.equal(second?.get('status'), '5.4.1');
    assert.equal(second?.get('remote-mta'), 'x-local; /run/lmtp');
    assert.equal(third?.get('original-recipient'), 'rfc822;old@example.test');
    assert.match(
      report.text.body,
      / {2}slow@example\.test\r\n {4}host \/run\/lmtp\r\n {4}Connection refused\r\n {4}retry timeout exceeded/,
    );
    assert.equal(report.returned.fields.get('content-type'), 'message/rfc822');
    assert.equal(report.returned.body, `Return-path: <sender@example.test>\r\n${section}body\r\n.dot\r\n`);
  });

  test('headers only, with 8-bit octets untouched', () => {
    const own = 'Subject: gr\xfc\xdfe\r\n\r\n';
    const { content, eightBit } = composeBounce(facts({ section: own }));
    assert.equal(eightBit, true);
    const whole = Buffer.from(content).toString('latin1');
    assert.ok(
      whole.includes(
        'Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReturn-path: <sender@example.test>\r\nSubject: gr\xfc\xdfe\r\n',
      ),
    );
    assert.ok(whole.includes('\r\nContent-Transfer-Encoding: 8bit\r\nSubject: Mail delivery failed'));
  });

  test('a message that holds our boundary gets another one', () => {
    const body = Buffer.from('--1xVm4C-0008DU-34-report-0\r\n');
    const report = readReport(composeBounce(facts({ body })).content);
    assert.ok(report.top.fields.get('content-type')?.includes('report-1'));
  });

  test('nothing a peer, a sender or a message says can break the report', () => {
    const nasty = fc.string({
      unit: fc.constantFrom(
        'a',
        ' ',
        '\r',
        '\n',
        '\\n',
        ':',
        '-',
        '--',
        '\x00',
        '\xe9',
        '<',
        '>',
        '"',
        ';',
        '=',
      ),
      maxLength: 60,
    });
    fc.assert(
      fc.property(nasty, nasty, nasty, nasty, (text, local, peer, id) => {
        const message = `Message-ID: ${id.replaceAll(/[\r\n]/g, '')}\r\n\r\n`;
        const { content } = composeBounce(
          facts({
            section: message,
            body: Buffer.from(text, 'latin1'),
            failures: [
              failed(address(`x${local}`), {
                status: { text, peer, reply: { code: 550, lines: [text] } },
                orcpt: text,
              }),
              failed(address('b')),
            ],
          }),
        );
        const whole = Buffer.from(content).toString('latin1');
        // The returned part may hold anything; all before it is ours.
        const ours = whole.slice(0, whole.lastIndexOf('Return-path:'));
        assert.ok(!/[\x80-\xff\x00]/.test(ours) && !/[^\r]\n|\r[^\n]/.test(ours));
        if (/[\x80-\xff]/.test(text + id) || /[\r\n]/.test(text)) return;
        const report = readReport(content);
        assert.equal(report.perRecipient.length, 2);
        assert.equal(report.perRecipient[0]?.get('action'), 'failed');
      }),
      { numRuns: 500 },
    );
  });
});
