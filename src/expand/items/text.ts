/** Items that make a text of their arguments. */
import { isUtf8 } from 'node:buffer';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { authenticationResults } from '../authentication-results.ts';
import { compileAclCall } from '../acl-call.ts';
import { aside, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { quoteItem } from '../list-items.ts';
import { matchInFrame } from '../match-budget.ts';
import { bounded, error, finish, maxTextOctets, type Outcome, type Result } from '../outcome.ts';
import { compileRegex, type Regex } from '../regex.ts';
import { encodeSrs } from '../srs.ts';
import { lengthOf, numericHash, substring, textualHash } from '../substrings.ts';
import { systemErrorText } from '../system-error.ts';
import { taintedNameReason } from '../taint.ts';
import { compileGroup, groupsItem, numberArgument } from './helpers.ts';

/** `name{n}{text}` or `name{n}{m}{text}`. */
function numbered(
  max: 2 | 3,
  signed: boolean,
  apply: (text: string, first: number, second: number | undefined) => Outcome<string>,
  cleans = false,
): ItemRow {
  return groupsItem(
    2,
    max,
    (texts, _frame, name) => {
      const text = texts.at(-1) ?? '';
      const first = numberArgument(texts[0] ?? '', name, signed, true);
      if (typeof first !== 'number') return first;
      if (texts.length < 3) return apply(text, first, undefined);
      const second = numberArgument(texts[1] ?? '', name, false, false);
      return typeof second === 'number' ? apply(text, first, second) : second;
    },
    cleans,
  );
}

/** Each octet of `from` becomes the one in its place in `to`, whose last one is used for the rest. */
function translate(text: string, from: string, to: string): string {
  if (to === '') return text;
  let out = '';
  for (const c of text) {
    const at = from.lastIndexOf(c);
    out += at < 0 ? c : to.charAt(Math.min(at, to.length - 1));
  }
  return out;
}

/** Only the subject's taint counts: the result is a changed copy of it. */
const tr: ItemRow = {
  parse: groupsItem(3, 3, () => '').parse,
  compile(parts, compiler) {
    const subject = compileGroup(parts, 0, compiler);
    const from = compileGroup(parts, 1, compiler);
    const to = compileGroup(parts, 2, compiler);
    return (frame) =>
      aside(subject, frame, (text, tainted) =>
        aside(from, frame, (f) =>
          aside(to, frame, (t): Result<string> => {
            if (tainted) frame.tainted = true;
            return translate(text, f, t);
          }),
        ),
      );
  },
};

interface Substitution {
  readonly subject: string;
  readonly replacement: string;
  readonly plain: boolean;
  at: number;
  copied: number;
  /** The match before was empty: only a non-empty one counts at this place. */
  afterEmpty: boolean;
  out: string;
}

function substituteFrom(regex: Regex, s: Substitution, frame: Frame): Result<string> {
  for (;;) {
    if (s.at > s.subject.length) break;
    const found = matchInFrame(regex, frame, s.subject, s.at, s.afterEmpty);
    if (found?.kind === 'error') return found;
    if (found === undefined) {
      if (!s.afterEmpty) break;
      // As Perl does: go on one octet further.
      s.at++;
      s.afterEmpty = false;
      continue;
    }
    s.out += s.subject.slice(s.copied, found.start);
    s.copied = found.end;
    s.at = found.end;
    s.afterEmpty = found.end === found.start;
    if (s.out.length > maxTextOctets) return bounded(s.out);
    if (s.plain) {
      s.out += s.replacement;
      continue;
    }
    frame.captures = found.groups;
    const text = frame.expandText(s.replacement, frame);
    if (text instanceof Promise)
      return text.then((t): Result<string> => {
        if (typeof t !== 'string') return t;
        s.out += t;
        return substituteFrom(regex, s, frame);
      });
    if (typeof text !== 'string') return text;
    s.out += text;
  }
  return bounded(s.out + s.subject.slice(s.copied));
}

/** `${sg{subject}{pattern}{replacement}}`; the replacement is expanded anew for every match, with `$1` of that match. */
const sg: ItemRow = {
  parse: groupsItem(3, 3, () => '').parse,
  compile(parts, compiler) {
    const subject = compileGroup(parts, 0, compiler);
    const pattern = compileGroup(parts, 1, compiler);
    const replacement = compileGroup(parts, 2, compiler);
    return (frame) =>
      aside(subject, frame, (s, subjectTainted) =>
        aside(pattern, frame, (p) =>
          aside(replacement, frame, (r, replacementTainted) =>
            substitute(s, p, r, subjectTainted, replacementTainted, frame),
          ),
        ),
      );
  },
};

function substitute(
  subject: string,
  pattern: string,
  replacement: string,
  subjectTainted: boolean,
  replacementTainted: boolean,
  frame: Frame,
): Result<string> {
  const regex = compileRegex(pattern);
  if (regex.kind === 'error') return regex;
  const plain = !/[\\$]/.test(replacement);
  if (!plain && replacementTainted) return error(`attempt to expand tainted string '${replacement}'`);
  const { captures, capturesTainted } = frame;
  frame.capturesTainted = subjectTainted;
  if (subjectTainted || replacementTainted) frame.tainted = true;
  const r = substituteFrom(
    regex,
    { subject, replacement, plain, at: 0, copied: 0, afterEmpty: false, out: '' },
    frame,
  );
  return finish(r, () => {
    frame.captures = captures;
    frame.capturesTainted = capturesTainted;
  });
}

const maxFileOctets = maxTextOctets;

const readfile: ItemRow = groupsItem(1, 2, (texts, frame) => {
  const [file = '', newline] = texts;
  if (frame.tainted) return error(taintedNameReason('file name for readfile', file, undefined));
  try {
    const content = readFileSync(Buffer.from(file, 'latin1'));
    if (content.length > maxFileOctets) return error(`${file} is longer than ${maxFileOctets} octets`);
    const text = content.toString('latin1');
    return newline === undefined ? text : text.replaceAll('\n', newline);
  } catch (e) {
    return error(`failed to open ${file}: ${systemErrorText(e)}`);
  }
});

const hmac: ItemRow = groupsItem(
  3,
  3,
  ([algorithm = '', secret = '', text = '']) => {
    if (algorithm !== 'md5' && algorithm !== 'sha1')
      return error(`hmac algorithm "${algorithm}" is not recognised`);
    return createHmac(algorithm, Buffer.from(secret, 'latin1'))
      .update(Buffer.from(text, 'latin1'))
      .digest('hex');
  },
  true,
);

const acl: ItemRow = {
  parse(p, name) {
    const groups = p.arguments(name, 1, 10);
    return groups && { groups };
  },
  compile(parts, compiler) {
    const call = compileAclCall(parts.groups, compiler);
    return (frame) => call(frame);
  },
};

/** A Maildir++ folder name: levels parted by dots, octets above 127 in modified UTF-7 (RFC 3501 §5.1.3). */
function imapFolder(text: string, separator: string): Outcome<string> {
  const illegal = /[./]/.exec(text.replaceAll(separator, ''))?.[0];
  if (illegal !== undefined) return error(`imapfolder: illegal character '${illegal}'`);
  const name = text.replaceAll(separator, '.');
  if (!isUtf8(Buffer.from(name, 'latin1')))
    return error('imapfolder: iconv() failed to convert from UTF-8: Invalid argument');
  return Buffer.from(name, 'latin1')
    .toString('utf8')
    .replace(/&|[^\x20-\x7e]+/g, (m) => {
      if (m === '&') return '&-';
      const swapped = Buffer.from(m, 'utf16le').swap16();
      return `&${swapped.toString('base64').replace(/=+$/, '').replaceAll('/', ',')}-`;
    });
}

export const textItems: Readonly<Record<string, ItemRow>> = {
  length: numbered(2, false, (s, n) => lengthOf(s, n)),
  substr: numbered(3, true, substring),
  hash: numbered(3, false, (s, n, m) => textualHash(s, n, m ?? 26)),
  nhash: numbered(3, false, numericHash, true),
  tr,
  sg,
  hmac,
  readfile,
  acl,
  srs_encode: groupsItem(3, 3, ([secret = '', returnPath = '', host = '']) =>
    encodeSrs(secret, returnPath, host),
  ),
  authresults: groupsItem(1, 1, ([server = ''], frame) => authenticationResults(server, frame)),
  listquote: groupsItem(2, 2, ([separator = '', text = '']) =>
    separator === '' ? text : quoteItem(text, separator.charAt(0)),
  ),
  imapfolder: groupsItem(1, 3, ([text = '', separator = '/']) =>
    separator.length === 1
      ? imapFolder(text, separator)
      : error(`IMAP folder separator must be one character, found "${separator}"`),
  ),
};
