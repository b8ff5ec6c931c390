// The differences between `exim4 -be` and Mailchute that are meant to be, by line of expansions.txt, with the reason.
const zeroOctet = 'a text ends at a zero octet in Exim (C strings); here it is an octet like any other';
const jsonComma = 'Exim 4.96 splits JSON at commas inside strings; here strings are read whole';
const crypt = 'there is no crypt() in Node: refused, instead of an answer that may be wrong';
const overflow =
  'Exim wraps around without a word where its check does not see the overflow; here it is an error';

export const accepted: ReadonlyMap<string, string> = new Map([
  ['\\x|\\xg|\\x4g|\\x4142', zeroOctet],
  ['\\400', zeroOctet],
  ['${if forany_jsons{["a,b","c"]}{eq{$item}{a,b}}{y}{n}}', jsonComma],
  [
    '${extract json{c}{ \\{ "a" : \\{ "b" : 1 \\} , "c": "d,e" \\} }}|${extract jsons{c}{\\{"a":1,"c":"d,e"\\}}{[$value]}{n}}',
    jsonComma,
  ],
  ['${if crypteq{test}{\\{crypt\\}abJnggxhB/yWI}{y}{n}}', crypt],
  ['${if crypteq{test}{abJnggxhB/yWI}{y}{n}}', crypt],
  ['${lookup{root}lsearch*@@{@DIR@/aliases}}', 'a second @ after a search type has no meaning: refused'],
  [
    '${lookup{long}lsearch{@DIR@/aliases}}',
    'the manual says that comments and empty lines inside an item are ignored; the binary ends the item there',
  ],
  [
    '${lookup{x.net}partial0-lsearch{@DIR@/domains}{$value|$1|$2}{none}}',
    'Exim cuts the last character off $1 when partial0 comes down to the empty key',
  ],
  ['${sort{b:a:c}{nosuch}{$item}}', 'Exim gives no text for this error'],
  [
    '${utf8clean:\\340\\200\\200}',
    'an overlong form is not valid UTF-8 (RFC 3629 §3); Exim lets three octets pass',
  ],
  [
    '${utf8clean:\\303\\303\\251}',
    'Exim drops a lead octet that cuts another sequence short; here it begins its own',
  ],
  ['${eval:-9223372036854775807-2}', overflow],
  ['${eval:9223372036854775807*2}', overflow],
  ['${eval:4611686018427387904*2}', overflow],
  ['${mask:1.2.3.4/}', 'an empty mask would silently mean all addresses'],
  ['${ipv6norm:::}', 'Exim gives ":" for "::", which is no address'],
]);
