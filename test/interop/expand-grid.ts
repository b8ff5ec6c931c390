// Expansion lines for the differential test that are combinations: every operator on a set of texts, every comparison on a
// set of pairs, and so on. What cannot be made like that stands in expansions.txt. Lines on which the real program crashes
// are left out: forany_json and forall_json on what is no array, a negative first number of hash, zero in nhash.
import { variableNames } from '../../src/expand/variables.ts';

const each = (names: readonly string[], texts: readonly string[]): string[] =>
  names.flatMap((name) => texts.map((text) => `\${${name}:${text}}`));

const words = (text: string): string[] => text.trim().split(/\s+/);

const texts = [
  '',
  'a',
  'Hello World',
  'a@b.test',
  '"q u"@b.test',
  'A B <c@D.test>',
  'x\\ny',
  '\\303\\251t\\351',
  'a:b::c',
  '1.2.3.4',
  '::1',
  '007',
];

const onTexts = each(
  words(`lc uc strlen escape escape8bit hexquote rxquote quote quote_local_part md5 sha1 sha256 base64 str2b64 rfc2047 rfc2047d
    utf8clean from_utf8 address domain local_part addresses listcount l_3 substr_1_2 s_-2 h_3_10 nh_7 expand`),
  texts,
);

const digests = each(
  words(
    `sha2 sha2_256 sha2_384 sha2_512 sha2_224 sha3 sha3_224 sha3_256 sha3_384 sha3_512 sha3_ sha2_ sha3_128 md5_1`,
  ),
  ['', 'abc'],
);

const bases = each(words('base32 base62 base32d base62d base64d hex2b64 xtextd headerwrap'), [
  ...words('0 1 61 62 4294967295 4294967296 18446744073709551615 18446744073709551616 -1 abc zz AAA A'),
  '',
  'YQ==YQ==',
  '0f',
  '0F',
  '0g',
  'abc def',
  'aGk=',
]);

const numbers = each(
  ['eval', 'eval10', 'time_eval', 'time_interval'],
  [
    ...words(
      '0 1 -1 +1 010 0x10 1K 1M 1G 1k 1T 1+ (1 1) ((1)) (1+2)*3 7/2 -7/2 7%3 -7%3 1/0 1%0 ~0 !0 5&3 5|2 5^1',
    ),
    ...words(
      '1<<4 256>>3 1<<64 2**3 a 0x 0xg 08 09+1 1K+1 9223372036854775807 9223372036854775808 -9223372036854775808',
    ),
    ...words('1-1-1 2*-3 2--3 1w 1w2d3h4m5s 5s4m 90 3600 604800 694861 1d1d d 1x 0s 86399 1.5'),
    '',
    '1 + 2 * 3',
    '1 2',
    '- 3',
    '1 <2',
    '1w 2d',
  ],
);

const addresses = [
  ...words('1.2.3.4 255.255.255.255 256.1.1.1 1.2.3 1.2.3.4.5 01.02.03.04 ::1 2001:db8::1 2001:DB8::A:0:0:1'),
  ...words(
    '2001:db8:0:0:0:0:0:1 2001:db8:0:1:0:0:0:1 fe80::1%eth0 ::ffff:1.2.3.4 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:9',
  ),
  ...words('1::2::3 12345:: g::1 abc 1.2.3.4:25 [1.2.3.4] ::1.2.3.4 1:2:3:4:5:6:7::'),
  '',
  '1.2.3.4 ',
];
const masks = [
  ...words(
    '1.2.3.4/0 1.2.3.4/8 1.2.3.4/32 1.2.3.4/33 1.2.3.4/-1 1.2.3.4/x 1.2.3.4 1.2.3.4/24/8 255.255.255.255/9 ::1/128',
  ),
  ...words('::1/129 2001:db8:ffff::1/33 2001:db8:ffff::1/47 /8 x/8 1.2.3.4/+8 1.2.3.4/08 1.2.3.4/8x'),
  '',
  '1.2.3.4/ 8',
  '1.2.3.4/8 ',
  ' 1.2.3.4/8',
  '2001:db8::1/ 32',
];
const ip = [
  ...each(['ipv6norm', 'ipv6denorm', 'reverse_ip'], addresses),
  ...['isip', 'isip4', 'isip6'].flatMap((c) => addresses.map((a) => `\${if ${c}{${a}}{y}{n}}`)),
  ...each(['mask', 'mask_n'], masks),
];

const compare = (conditions: readonly string[], pairs: readonly (readonly [string, string])[]): string[] =>
  conditions.flatMap((c) => pairs.map(([a, b]) => `\${if ${c}{${a}}{${b}}{y}{n}}`));

const comparisons = [
  ...compare(
    ['=', '==', '<', '<=', '>', '>='],
    [
      ['1', '1'],
      ['1', '2'],
      ['2', '1'],
      ['', '0'],
      ['1K', '1024'],
      ['1M', '1048576'],
      ['-1', '1'],
      ['a', '1'],
      ['1', '1x'],
      [' 1', '1'],
      ['1 ', '1'],
      ['0x10', '16'],
      ['010', '8'],
      ['1G', '1'],
    ],
  ),
  ...compare(words('eq eqi lt lti le lei gt gti ge gei'), [
    ['a', 'a'],
    ['a', 'A'],
    ['a', 'b'],
    ['B', 'a'],
    ['', 'a'],
    ['a', 'aa'],
    ['\\303', 'a'],
    ['a ', 'a'],
  ]),
  ...[
    ...words('0 1 2 -1 00 000 true TRUE yes Yes no false FALSE on off 1x 0x0 t +1 1.0'),
    '',
    ' true ',
    ' ',
    'a b',
  ].flatMap((v) => [`\${if bool{${v}}{y}{n}}`, `\${if bool_lax{${v}}{y}{n}}`]),
];

const lists = [
  ...words('a a:b a:b: a::b :a <;a;;b;c <<a<b :: 2:1:10 <|a|b'),
  '',
  'a: :b',
  '<; a;b',
  '<, a, b ,c',
  '< ; a',
  '<\\n a\\nb',
  ' a : b ',
  '<',
  '<: a:b',
  'a : : b',
  '<- a-b',
  '<a b',
].flatMap((l) => [
  `\${listcount:${l}}|\${map{${l}}{[$item]}}`,
  `\${filter{${l}}{!eq{$item}{a}}}|\${reduce{${l}}{+}{$value$item,}}`,
  `\${sort{${l}}{lt}{$item}}|\${sort{${l}}{>}{\${length_1:$item}}}`,
  `\${if forany{${l}}{eq{$item}{a}}{y}{n}}\${if forall{${l}}{eq{$item}{a}}{y}{n}}`,
  `\${if inlist{a}{${l}}{y$value}{n}}\${if inlisti{A}{${l}}{y$value}{n}}`,
  `\${listextract{1}{${l}}{[$value]}{none}}`,
  `\${listextract{-1}{${l}}{[$value]}{none}}`,
  `\${listextract{2}{${l}}{[$value]}{none}}`,
  `\${listextract{0}{${l}}{[$value]}{none}}`,
]);

const extractions = [
  ...['', 'a', 'a:b:c', 'a::c', ':', 'a,b:c', 'a:b'].flatMap((t) =>
    words('0 1 2 3 -1 -2 -4').map((n) => `\${extract{${n}}{:}{${t}}{[$value]}{no}}`),
  ),
  ...[
    '',
    'a=1',
    'a=1 b=2',
    'a = 1 b= 2',
    'A=1',
    'a="x y" b=2',
    'a="x\\"y"',
    'b a=1',
    'a',
    'a=',
    'a= b=2',
    '"a"=1',
    'a=1 a=2',
    'x=a=1 a=3',
    "a='q r' b=2",
    'a="unterminated',
    '=1 a=2',
    'a==1',
    'a=1,b=2',
  ].flatMap((t) => ['a', 'b', 'A'].map((k) => `\${extract{${k}}{${t}}{[$value]}{no}}`)),
];

const parts = [
  ...['0', '1', '3', '99', 'x', '', '1.5'].flatMap((n) =>
    ['', 'a', 'abcdef'].flatMap((t) => [
      `\${length{${n}}{${t}}}|`,
      `\${substr{${n}}{${t}}}|`,
      `\${hash{${n}}{${t}}}|`,
      `\${nhash{${n}}{${t}}}|`,
    ]),
  ),
  ...(
    [
      ['0', '0'],
      ['1', '2'],
      ['-2', '1'],
      ['-9', '2'],
      ['2', '99'],
      ['x', '1'],
      ['1', 'x'],
      ['', ''],
    ] as const
  ).flatMap(([a, b]) => [
    `\${substr{${a}}{${b}}{abcdef}}|`,
    `\${substr_${a}_${b}:abcdef}|`,
    `\${hash{${a}}{${b}}{abcdef}}|`,
    `\${hash_${a}_${b}:abcdef}|`,
    `\${nhash{${a}}{${b}}{abcdef}}|`,
    `\${nhash_${a}_${b}:abcdef}|`,
  ]),
];

const substitutions = (
  [
    ['abc', 'b', 'x'],
    ['abc', '', '-'],
    ['aaa', 'a', 'b'],
    ['abc', '(.)', '[\\$1]'],
    ['abc', '^', 'x'],
    ['abc', '\\$', 'x'],
    ['a.b', '.', 'x'],
    ['a.b', '\\\\.', 'x'],
    ['abc', '(', 'x'],
    ['abc', 'b', '\\$2'],
    ['ABC', '(?i)b', 'x'],
    ['a b', '\\\\s+', ''],
    ['abc', 'x*', '-'],
    ['aXbX', 'X(?=b)', '<\\$0>'],
    ['\\351x', '.', '[\\$0]'],
    ['abab', '(a)(b)?', '\\$2\\$1'],
    ['abc', 'b|', '-'],
    ['a\\nb', '(?m)^', '>'],
    ['', 'x*', '-'],
    ['', '', ''],
  ] as const
).flatMap(([s, p, r]) => [`\${sg{${s}}{${p}}{${r}}}`, `\${if match{${s}}{${p}}{y:$0|$1|$2}{n}}`]);

const objects = [
  '\\{"a":1\\}',
  '\\{"a":"x","b":[1,2]\\}',
  '\\{\\}',
  'x',
  '',
  '\\{"a":null\\}',
  '\\{"a":true,"b":\\{"c":2\\}\\}',
  '\\{"a" : "b" \\}',
  '\\{a:1\\}',
  '\\{"a"\\}',
  '\\{"a":1',
];
const arrays = ['[1,2,3]', '["a","b"]', '[]', '[ 1 , "x" ]', '[1, 2 ]', '[[1],[2]]'];
const json = [
  ...[...objects, ...arrays, '[1'].flatMap((j) =>
    ['json{a', 'json{b', 'json{1', 'json{2', 'json{0', 'json{-1', 'jsons{a', 'jsons{1'].map(
      (k) => `\${extract ${k}}{${j}}{[$value]}{no}}`,
    ),
  ),
  ...arrays.flatMap((j) => [
    `\${if forany_json{${j}}{eq{$item}{1}}{y}{n}}\${if forall_json{${j}}{eq{$item}{1}}{y}{n}}`,
    `\${if forany_jsons{${j}}{eq{$item}{a}}{y}{n}}`,
    `\${if forall_jsons{${j}}{eq{$item}{a}}{y}{n}}`,
  ]),
];

const quoting = each(
  words(`quote_lsearch quote_mysql quote_pgsql quote_sqlite quote_ldap quote_ldap_dn quote_oracle quote_nisplus quote_nis quote_dnsdb
    quote_dsearch quote_passwd quote_nosuch quote_ldap_x quote_cdb quote_dbm quote_ibase quote_whoson quote_spf quote_testdb quote_`),
  ["a'b", 'a"b\\\\c d', '', ' #,+<>;* (x)=%_\\n\\t'],
);

/** Their values change by themselves, or say where a program is and who runs it. */
const volatile = new Set(
  words(`tod_epoch tod_epoch_l tod_full tod_log tod_bsdinbox tod_zulu load_average pid config_file compile_date
    compile_number spool_space spool_inodes log_space log_inodes exim_path exim_uid exim_gid initial_cwd`),
);
const variables = [
  ...variableNames().filter((name) => !volatile.has(name)),
  ...words(`acl_arg1 acl_arg9 acl_arg0 acl_arg10 acl_c0 acl_m_x acl_cfoo acl_c acl_x acl_narg2 r_foo r_ tod_nosuch n0 sn0 sn9
    dmarc_status arc_state connection_id nosuch pipe_addresses auth5 regex0 regex10 Domain`),
].flatMap((name) =>
  // Without a message the real program crashes where it looks whether there is a reply address.
  [`$${name}`, `\${${name}}`, `\${if def:${name === 'reply_address' ? 'h_reply-to:' : name}{y}{n}}`],
);

/** A negative first number of hash, and zero or a negative number in nhash: the real program crashes or takes it unsigned. */
const crashing = /hash\{-|nhash\{(?:0?|-.*)\}|nhash_(?:0?|-\d)_/;

/** Each line once. */
export function gridLines(): string[] {
  const lines = [
    ...new Set([
      ...onTexts,
      ...digests,
      ...bases,
      ...numbers,
      ...ip,
      ...comparisons,
      ...lists,
      ...extractions,
      ...parts,
      ...substitutions,
      ...json,
      ...quoting,
      ...variables,
    ]),
  ];
  return lines.filter((l) => !crashing.test(l));
}
