// The differences between Exim 4.96 and Mailchute in expansions that are meant to be. expand.test.ts checks that each is as it
// stands here; the compatibility reference is made from them.

/** One line given to `exim4 -be` and to ours. Texts hold one octet a character; @DIR@ is the folder of the test's files. */
export interface ExpansionDifference {
  readonly expression: string;
  readonly theirs: string;
  readonly ours: string;
  readonly reason: string;
  /** With the message of expand-world.ts at hand (`-bem`). */
  readonly withMessage?: true;
}

const zero = 'a text ends at a zero octet in Exim (C strings); here it is an octet like any other';
const overflow =
  'Exim wraps around without a word where its check does not see the overflow; here it is an error';
const json = 'Exim 4.96 splits JSON at commas inside strings; here strings are read whole';
const silent = 'Exim gives no text for this error';
const foreign =
  'PAM loads foreign code into the program: refused by name when the configuration is read; `saslauthd` asks PAM too';

export const expansionDifferences: readonly ExpansionDifference[] = [
  {
    expression: '\\x|\\xg|\\x4g|\\x4142',
    theirs: '',
    ours: '\u0000|\u0000g|\u0004g|A42',
    reason: zero,
  },
  {
    expression: '\\400',
    theirs: '',
    ours: '\u0000',
    reason: zero,
  },
  {
    expression: '${if forany_jsons{["a,b","c"]}{eq{$item}{a,b}}{y}{n}}',
    theirs: "Failed: missing '\"' wrapping string result for extract jsons",
    ours: 'y',
    reason: json,
  },
  {
    expression: '${lookup{root}lsearch*@@{@DIR@/aliases}}',
    theirs: 'default',
    ours: 'Failed: unknown lookup type "lsearch*@@"',
    reason: 'a second @ after a search type has no meaning: refused',
  },
  {
    expression: '${lookup{x.net}partial0-lsearch{@DIR@/domains}{$value|$1|$2}{none}}',
    theirs: 'star|x.ne|',
    ours: 'star|x.net|',
    reason: 'Exim cuts the last character off $1 when partial0 comes down to the empty key',
  },
  {
    expression:
      '${extract json{c}{ \\{ "a" : \\{ "b" : 1 \\} , "c": "d,e" \\} }}|${extract jsons{c}{\\{"a":1,"c":"d,e"\\}}{[$value]}{n}}',
    theirs: "Failed: missing '\"' wrapping string result for extract jsons",
    ours: '"d,e" |[d,e]',
    reason: json,
  },
  {
    expression: '${sort{b:a:c}{nosuch}{$item}}',
    theirs: 'Failed: ',
    ours: 'Failed: comparator not handled for sort',
    reason: silent,
  },
  {
    expression: '${utf8clean:\\340\\200\\200}',
    theirs: '\xe0\x80\x80',
    ours: '?',
    reason: 'an overlong form is not valid UTF-8 (RFC 3629 \xa73); Exim lets three octets pass',
  },
  {
    expression: '${utf8clean:\\303\\303\\251}',
    theirs: '??',
    ours: '?\xc3\xa9',
    reason: 'Exim drops a lead octet that cuts another sequence short; here it begins its own',
  },
  {
    expression: '${eval:-9223372036854775807-2}',
    theirs: '9223372036854775807',
    ours: 'Failed: error in expression evaluation: overflow in difference (after processing "-9223372036854775807-2")',
    reason: overflow,
  },
  {
    expression: '${eval:9223372036854775807*2}',
    theirs: '-2',
    ours: 'Failed: error in expression evaluation: overflow in multiplication (after processing "9223372036854775807*2")',
    reason: overflow,
  },
  {
    expression: '${eval:4611686018427387904*2}',
    theirs: '-9223372036854775808',
    ours: 'Failed: error in expression evaluation: overflow in multiplication (after processing "4611686018427387904*2")',
    reason: overflow,
  },
  {
    expression: '${mask:1.2.3.4/}',
    theirs: '0.0.0.0/0',
    ours: 'Failed: missing mask value in "1.2.3.4/"',
    reason: 'an empty mask would silently mean all addresses',
  },
  {
    expression: '${ipv6norm:::}',
    theirs: ':',
    ours: '::',
    reason: 'Exim gives ":" for "::", which is no address',
  },
  {
    expression: '${if pam{a:b}{y}{n}}',
    theirs: 'n',
    ours: 'Failed: "pam" condition is not supported: PAM loads foreign code into the program; ${if saslauthd asks PAM in a process of its own',
    reason: foreign,
  },
  {
    expression: '${if pwcheck{a}{y}{n}}',
    theirs: 'Failed: support for "pwcheck" not compiled',
    ours: 'Failed: pwcheck: malformed input - missing colon',
    reason: 'Debian builds Exim without pwcheck and radius; here they work',
  },
  {
    expression: '${readfile{/}}',
    theirs: '',
    ours: 'Failed: failed to open /: Is a directory',
    reason: 'Exim reads a directory as an empty file; here it is an error',
  },
  {
    expression: '${env}',
    theirs: 'Failed: ',
    ours: "Failed: missing '}' for name arg of env",
    reason: silent,
  },
  {
    expression: '${perl}',
    theirs: "Failed: Not enough arguments for 'perl' (min is 1)",
    ours: 'Failed: "perl" expansion item is not supported: there is no Perl interpreter',
    reason: 'an item that is refused is refused before its arguments are counted',
  },
  {
    expression: '${if match_domain{a.b}{+nosuch}{y|$value|$1}{n}}',
    theirs: 'Failed: unable to complete match against "+nosuch": NULL',
    ours: 'Failed: unknown named domain list "+nosuch"',
    reason: 'says which list is missing; Exim says NULL',
  },
  {
    expression: '${readsocket{inet:127.0.0.1}{x}}',
    theirs: 'Failed: ',
    ours: 'Failed: missing port for readsocket 127.0.0.1',
    reason: silent,
  },
  {
    expression: '${readsocket{inet:127.0.0.1:nosuchport}{x}}',
    theirs: 'Failed: ',
    ours: 'Failed: unknown port nosuchport for readsocket',
    reason: silent,
  },
  {
    expression: '${expand:${acl{a2}{$h_x-key:}}}',
    theirs: 'no',
    ours: 'Failed: internal expansion of "no" failed: attempt to expand tainted string \'no\'',
    reason:
      'the message of an ACL that was called counts as tainted whatever it says, which is the safe side',
    withMessage: true,
  },
];
