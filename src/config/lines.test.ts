import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { SourceText } from '../mail/diagnostic.ts';
import { positionAt } from '../mail/source-text.ts';
import { createLineReader } from './lines.ts';
import { createMacros } from './macros.ts';
import { createReport } from './report.ts';

function linesOf(
  text: string,
  files: Readonly<Record<string, string>> = {},
  defines: Readonly<Record<string, string>> = {},
): SourceText[] {
  const macros = createMacros(['_HAVE_X', '_HAVE_X_MORE'], new Map(Object.entries(defines)));
  const readFile = (path: string): string => {
    const content = files[path];
    if (content === undefined)
      throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });
    return content;
  };
  const reader = createLineReader('/c', text, {
    macros,
    report: createReport(),
    readFile,
    onFile: () => undefined,
  });
  const lines: SourceText[] = [];
  for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(line);
  return lines;
}

const texts = (...args: Parameters<typeof linesOf>): string[] => linesOf(...args).map((l) => l.text);

test('comments and blank lines are dropped, white space at the ends too', () => {
  assert.deepEqual(texts('\n  # comment\n\ta = b # kept  \n\n  c\r\n'), ['a = b # kept', 'c']);
});

test('a backslash continues a line; comments may stand between, an empty line ends it', () => {
  assert.deepEqual(texts('a = x \\\n   y\\  \n  # comment\n\t z\nb'), ['a = x yz', 'b']);
  assert.deepEqual(texts('a = x\\\n\nb\n'), ['a = x', 'b']);
  assert.deepEqual(texts('a = x\\\\\ny\n'), ['a = x\\y']);
  assert.deepEqual(texts('a = x\\'), ['a = x']);
  assert.deepEqual(texts('\\\n\\\n\nb'), ['b']);
});

test('every octet knows its file, line and column', () => {
  const [line] = linesOf(
    '  a = x \\\n     yz\\\n.include /inc\n  end',
    { '/inc': ' in\\\n' },
    { MAC: 'unused' },
  );
  assert.ok(line);
  assert.equal(line.text, 'a = x yzinend');
  const at = (c: string): string => {
    const p = positionAt(line, line.text.indexOf(c));
    return `${p.file}:${p.line}:${p.column}`;
  };
  assert.deepEqual(
    [at('a'), at('x'), at('y'), at('z'), at('in'), at('end')],
    ['/c:1:3', '/c:1:7', '/c:2:6', '/c:2:7', '/inc:1:2', '/c:4:3'],
  );
});

test('what a macro stands for has the place of its name', () => {
  const [line] = linesOf('a = <MAC> b MAC;', {}, { MAC: 'long text' });
  assert.ok(line);
  assert.equal(line.text, 'a = <long text> b long text;');
  const columns = (c: string, from = 0): number => positionAt(line, line.text.indexOf(c, from)).column;
  assert.deepEqual(
    [columns('<'), columns('l'), columns('t>'), columns('>'), columns('b'), columns('l', 12), columns(';')],
    [5, 6, 6, 9, 11, 13, 16],
  );
});

test('an included file may be relative to the one that includes it, and stand inside a setting', () => {
  assert.deepEqual(
    texts('.include "d/one"\nb', { 'd/one': 'x', '/d/one': 'a\n.include two', '/d/two': 't\n' }),
    ['a', 't', 'b'],
  );
  assert.deepEqual(texts('.include_if_exists /none\nb'), ['b']);
  assert.deepEqual(texts('INC=ignored here\n.include MAC', { '/x': 'from x' }, { MAC: '/x' }), [
    'INC=ignored here',
    'from x',
  ]);
});

test('conditionals nest, and span files', () => {
  assert.deepEqual(
    texts('.ifdef AA\na\n.ifndef BB\nb\n.else\nc\n.endif\n.else\nd\n.endif\ne', {}, { AA: '' }),
    ['a', 'b', 'e'],
  );
  assert.deepEqual(
    texts('.ifdef CC\nc\n.elifdef BB\nb\n.elifndef AA\nx\n.else\ne\n.endif', {}, { AA: '', BB: '' }),
    ['b'],
  );
  assert.deepEqual(texts('.ifdef NO\n.ifndef NO\na\n.else\nb\n.endif\n.include /missing\n.else\nc\n.endif'), [
    'c',
  ]);
  assert.deepEqual(texts('.include /open\nb\n.endif\nc', { '/open': '.ifdef NO\n' }), ['c']);
  assert.deepEqual(texts('a = 1 \\\n.ifdef NO\n 2 \\\n.else\n 3 \\\n.endif\n 4'), ['a = 1 3 4']);
});

test('built-in macros count only where the first possible name has an underscore', () => {
  assert.deepEqual(texts('_HAVE_X a _HAVE_X_MORE _HAVE_XX\nQ _HAVE_X'), ['y a y yX', 'Q _HAVE_X']);
});

test('reading ends for any text, and each octet of a line without macros is where it says', () => {
  const words = fc.constantFrom(
    'a',
    ' ',
    '\\',
    '\n',
    '#',
    '.ifdef X\n',
    '.ifndef X\n',
    '.else\n',
    '.endif\n',
    '.include /i\n',
    '\r',
    '=',
  );
  fc.assert(
    fc.property(fc.array(words), fc.array(words), (main, included) => {
      const files: Record<string, string> = { '/c': main.join(''), '/i': included.join('') };
      for (const line of linesOf(main.join(''), files)) {
        assert.notEqual(line.text, '');
        for (let i = 0; i < line.text.length; i++) {
          const p = positionAt(line, i);
          assert.equal(files[p.file]?.split('\n')[p.line - 1]?.[p.column - 1], line.text[i]);
        }
      }
    }),
  );
});
