import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseAddress, isSyntaxError, type Address } from '../mail/address.ts';
import { parseHeaderFields } from '../mail/headers.ts';
import { expandText } from './expand.ts';
import { dates } from './variables/dates.ts';
import { variableNames } from './variables.ts';
import type { ExpandScope } from './scope.ts';
import { addressFacts, connectionFacts, messageFacts, scopeWith } from './test-scope.ts';

function text(source: string, scope: ExpandScope): string {
  const r = expandText(source, scope);
  assert.ok(!(r instanceof Promise));
  return r.kind === 'ok' ? r.text : `${r.kind}: ${r.reason}`;
}

function address(s: string): Address {
  const a = parseAddress(s);
  assert.ok(!isSyntaxError(a));
  return a;
}

describe('variables', () => {
  it('are all readable in an empty scope and in a full one', () => {
    const full = scopeWith({
      address: addressFacts(),
      connection: connectionFacts(),
      message: messageFacts({ headers: () => [] }),
      acl: { args: ['x'] },
    });
    for (const name of variableNames())
      for (const scope of [scopeWith(), full]) assert.doesNotMatch(text(`$${name}`, scope), /^error/, name);
  });

  it('show the address, unquoted and in lower case', () => {
    const scope = scopeWith({
      address: addressFacts({
        local: '"a b"',
        prefix: 'owner-',
        suffix: '+x',
        localPartData: 'data',
        original: address('Orig@Old.Test'),
        parent: address('par@Mid.Test'),
        hostPort: 24,
        routerVariables: new Map([['x', { text: 'set', tainted: false }]]),
      }),
    });
    assert.equal(
      text('$local_part@$domain $local_part_prefix $local_part_suffix', scope),
      'a b@example.com owner- +x',
    );
    assert.equal(text('$original_local_part@$original_domain', scope), 'Orig@old.test');
    assert.equal(text('$parent_local_part@$parent_domain', scope), 'par@mid.test');
    assert.equal(text('$local_part_data|$domain_data|$host_port|$r_x|$r_y', scope), 'data||24|set|');
    const plain = scopeWith({ address: addressFacts({ prefix: 'p-', suffix: '-s' }) });
    assert.equal(text('$original_local_part@$original_domain', plain), 'p-joe-s@example.com');
  });

  it('show the client as Exim words it', () => {
    const host = (parts: Parameters<typeof connectionFacts>[0]): string =>
      text('$sender_fullhost / $sender_rcvhost', scopeWith({ connection: connectionFacts(parts) }));
    assert.equal(host({}), '[192.0.2.9] / [192.0.2.9]');
    assert.equal(host({ helo: 'h.test' }), '(h.test) [192.0.2.9] / [192.0.2.9] (helo=h.test)');
    assert.equal(host({ helo: '[192.0.2.9]' }), '[192.0.2.9] / [192.0.2.9]');
    assert.equal(host({ hostName: 'n.test', helo: 'n.test' }), 'n.test [192.0.2.9] / n.test ([192.0.2.9])');
    assert.equal(
      host({ hostName: 'n.test', helo: 'h.test' }),
      'n.test (h.test) [192.0.2.9] / n.test ([192.0.2.9] helo=h.test)',
    );
  });

  it('show the envelope', () => {
    const message = messageFacts({
      id: '1u2WxY-000aBc-1f',
      sender: address('s@Sender.Test'),
      recipients: [address('a@b'), address('c@d')],
      rcptCount: 3,
      declaredSize: 77,
      receivedAtMs: 5000,
      variables: new Map([['m_x', 'v']]),
    });
    const scope = scopeWith({ message });
    assert.equal(
      text('$message_exim_id $sender_address $sender_address_domain', scope),
      '1u2WxY-000aBc-1f s@Sender.Test Sender.Test',
    );
    assert.equal(
      text('$recipients|$recipients_count|$rcpt_count|$message_size|$received_time|$acl_m_x', scope),
      'a@b, c@d|2|3|77|5|v',
    );
    assert.equal(text('$message_size', scopeWith({ message: { ...message, size: 99 } })), '99');
  });

  it('give what other parts put beside them', () => {
    const extra = new Map([['host_data', { text: 'd', tainted: true }]]);
    assert.deepEqual(expandText('$host_data', scopeWith({ extra })), {
      kind: 'ok',
      text: 'd',
      tainted: true,
    });
  });

  it('give dates in the forms of the manual', () => {
    const d = new Date(2002, 9, 7, 3, 4, 5);
    assert.equal(dates.log(d), '2002-10-07 03:04:05');
    assert.equal(dates.bsdInbox(d), 'Mon Oct 07 03:04:05 2002');
    assert.equal(dates.logfile(d), '20021007');
    assert.match(dates.full(d), /^Mon, 07 Oct 2002 03:04:05 [+-]\d{4}$/);
    assert.equal(dates.zulu(new Date(Date.UTC(2003, 1, 21, 15, 40, 23))), '20030221154023Z');
  });
});

describe('header variables', () => {
  const section =
    'To: a@x,\r\n  b@x\r\nto: c@x\r\nSubject:  =?iso-8859-1?Q?Caf=E9?=  \r\nX-A:  one  \r\nX-A: t:wo\r\nX-Empty:\r\n';
  const scope = scopeWith({ message: messageFacts({ headers: () => parseHeaderFields(section) }) });

  it('join, trim and decode as Exim does', () => {
    assert.equal(text('$h_to:', scope), 'a@x,\n  b@x,\nc@x');
    assert.equal(text('$rh_x-a:', scope), '  one  \n t:wo\n');
    assert.equal(text('$lh_x-a:', scope), '  one  : t::wo');
    assert.equal(text('$h_x-a:', scope), 'one\nt:wo');
    assert.equal(text('$h_subject:|$bh_subject:', scope), 'Caf\xc3\xa9|Caf\xe9');
    assert.equal(text('${if def:h_x-empty:{y}{n}}${if def:h_nope:{y}{n}}', scope), 'yn');
  });

  it('are tainted', () => {
    assert.deepEqual(expandText('$h_x-a:', scope), { kind: 'ok', text: 'one\nt:wo', tainted: true });
  });
});
