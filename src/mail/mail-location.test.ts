import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { expandMailLocation } from './mail-location.ts';

const joe = { username: 'Joe@Example.test', home: '/home/joe' };

test('the variables and prefixes of Dovecot', () => {
  const cases = [
    ['maildir:/var/vmail/%u', '/var/vmail/Joe@Example.test'],
    ['/var/vmail/%d/%n', '/var/vmail/Example.test/Joe'],
    ['maildir:/m/%Ld/%Un/', '/m/example.test/JOE'],
    ['maildir:~/Maildir', '/home/joe/Maildir'],
    ['%h/100%%', '/home/joe/100%'],
  ] as const;
  for (const [template, path] of cases)
    assert.deepEqual(expandMailLocation(template, joe), { kind: 'ok', path }, template);
});

test('LAYOUT and INBOX', () => {
  assert.deepEqual(expandMailLocation('maildir:/m/%n:LAYOUT=fs:INBOX=/in/%u', joe), {
    kind: 'ok',
    path: '/m/Joe',
    layout: 'fs',
    inbox: '/in/Joe@Example.test',
  });
  assert.deepEqual(expandMailLocation('~/m:INBOX=~/in:LAYOUT=Maildir++', joe), {
    kind: 'ok',
    path: '/home/joe/m',
    layout: 'maildir++',
    inbox: '/home/joe/in',
  });
  // A colon in a user's name is no suffix.
  assert.deepEqual(expandMailLocation('/m/%u', { username: 'a:LAYOUT=fs' }), {
    kind: 'ok',
    path: '/m/a:LAYOUT=fs',
  });
  for (const suffix of [
    'LAYOUT=',
    'LAYOUT=index',
    'INBOX=',
    'INBOX=in',
    'INBOX=/a/../b',
    'CONTROL=/c',
    'layout=fs',
    '',
  ])
    assert.equal(expandMailLocation(`maildir:/m:${suffix}`, joe).kind, 'refused', suffix);
});

test('what is not supported or leads astray is refused with its reason', () => {
  for (const template of [
    'mbox:~/mail',
    'maildir:/m:INDEX=/i',
    '%u',
    'm/%u',
    '/m/../%u',
    '/m/./%u',
    '/m/%x',
    '/m/%',
    '',
  ]) {
    assert.equal(expandMailLocation(template, joe).kind, 'refused', template);
  }
  assert.equal(expandMailLocation('~/m', { username: 'joe' }).kind, 'refused');
  assert.equal(expandMailLocation('/m/%d/%n', { username: 'joe' }).kind, 'refused');
});

test('whatever the user name, the path stays one level below the folder written', () => {
  const name = fc.array(fc.constantFrom('a', '..', '.', '/', '@', '\0', '\n', '%u', '~', ' ', '\xff'), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(name, (pieces) => {
      const location = expandMailLocation('maildir:/var/vmail/%u', { username: pieces.join('') });
      if (location.kind === 'ok') assert.match(location.path, /^\/var\/vmail\/[^./\0\n][^/\0\n]*$/);
    }),
    { numRuns: 2000 },
  );
});
