import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { folderOf, parseFolderName } from './folder-name.ts';

test('levels in modified UTF-7, INBOX in any case', () => {
  const levels = (folder: string): unknown => {
    const name = parseFolderName(folder);
    return name.kind === 'folder' ? name.levels : name.kind;
  };
  assert.equal(parseFolderName(undefined).kind, 'inbox');
  assert.deepEqual(['inbox', 'INBOX', 'Inbox'].map(levels), ['inbox', 'inbox', 'inbox']);
  assert.deepEqual(levels('inbox/sub'), ['INBOX', 'sub']);
  assert.deepEqual(levels('a/inbox'), ['a', 'inbox']);
  assert.deepEqual(levels('caf\xc3\xa9/a.b'), ['caf&AOk-', 'a.b']);
  assert.deepEqual(levels('inboxes'), ['inboxes']);
});

test('what is no name, with the reason in the words of Dovecot', () => {
  const cases = [
    ['/a', 'Invalid mailbox name: Begins with hierarchy separator'],
    ['a/', 'Invalid mailbox name: Ends with hierarchy separator'],
    ['a//b', 'Invalid mailbox name: Has adjacent hierarchy separators'],
    ['~', "Invalid mailbox name: Begins with '~'"],
    ['a\nb', 'Control characters not allowed in new mailbox names'],
    ['a\0b', 'Control characters not allowed in new mailbox names'],
    ['a\xff', 'Mailbox name not valid UTF-8'],
    ['x'.repeat(256), 'Mailbox name too long'],
    ['\xc3\xa9'.repeat(100), 'Mailbox name too long'],
    ['a/'.repeat(2100), 'Mailbox name too long'],
    ['', 'Invalid mailbox name: Name is empty'],
  ] as const;
  for (const [folder, reason] of cases)
    assert.deepEqual(
      parseFolderName(folder),
      { kind: 'invalid', reason },
      JSON.stringify(folder).slice(0, 40),
    );
});

test('names as users write them, by the separator', () => {
  const of = (text: string, separator: string): string => {
    const found = folderOf(text, separator);
    return found.kind === 'ok' ? found.folder : found.reason;
  };
  assert.equal(of('a.b.c', '.'), 'a/b/c');
  assert.equal(of('a.b/c', '/'), 'a.b/c');
  assert.equal(of('a/b', '.'), "Invalid mailbox name: Name must not have '/' characters");
  assert.equal(of('.a', '.'), 'Invalid mailbox name: Begins with hierarchy separator');
  assert.equal(of('a/../b', '.'), 'Invalid mailbox name: Has adjacent hierarchy separators');
});

test('no level has a slash, a control octet or nothing in it, whatever the name', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.constantFrom('.', '/'),
      (text, separator) => {
        const octets = Buffer.from(text, 'utf8').toString('latin1');
        const found = folderOf(octets, separator);
        if (found.kind !== 'ok') return;
        const name = parseFolderName(found.folder);
        if (name.kind !== 'folder') return;
        for (const level of name.levels) assert.match(level, /^[\x20-\x2e\x30-\x7e]{1,255}$/);
      },
    ),
    { numRuns: 3000 },
  );
});
