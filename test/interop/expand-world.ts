// The files, the configuration and the message with which expand.test.ts compares answers: the same for the real Exim and ours.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const aliases = `# a comment
alice: alice@example.test
bob:bob@example.test

long: one@example.test,
   two@example.test,
# in between
	three@example.test
spaced   :   spaced data   
tabbed	data by tab
bare
colon: :fail:
colondata :include:/x
"quoted key": quoted data
"quo\\"te": escaped
"a:b": colon key
"unended
dup: first
dup: second
caf\xe9: latin
*@example.com: domain default
*: default
last: no newline`;

const domains = `exact.test: exact
*.example.com: example
*.org: org
*: star
.dot.test: dot
bare.test: bare
*.y.z.net: deep
`;

const hosts = `192.0.2.1: one
192.0.2.0/24: net
"2001:db8::/32": six
`;

const wild = `*.wild.test: wild
*fish: fish
^\\d+\\.num\\.test: num
literal: literal
`;

const message = `Subject: Hello World
From: A B <a.b@from.test>
To: c@to.test, "D, E" <d@to.test>
Cc: one@cc.test,
\ttwo@cc.test
Cc: Group: three@cc.test, four@cc.test;
X-Many: one
X-Many: two: half
X-Fold: a
  b\t
\tc
X-Empty:
X-Word: =?utf-8?Q?caf=C3=A9?= =?iso-8859-1?B?6fo=?= end
X-Utf: =?UTF-8?B?4oKs?= =?bad
X-Raw: caf\xc3\xa9 \xff
X-Pairs: key=value other="x y"
X-Key: k1
X-Num: 41
X-Ip: 192.0.2.55

body line
second
`;

const config = (folder: string): string => `
primary_hostname = mx.example.test
.ifndef COMMAND_MACRO
qualify_domain = example.test
.endif
qualify_recipient = rcpt.example.test
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
keep_environment = HOME_OF_EXPAND_TEST
WORLD_MACRO = of the file
.ifdef COMMAND_MACRO
qualify_domain = COMMAND_MACRO
.endif
domainlist local_domains = example.test : *.example.com
domainlist two = a.b : c.d
hostlist relay = 192.0.2.0/24
addresslist al = a@b : c@d
localpartlist ll = x : y
begin acl
a1:
  accept message = hello $acl_arg1 narg $acl_narg
a2:
  deny message = no
a3:
  defer message = later
a4:
  accept
a5:
  discard message = gone
a6:
  drop message = dropped
a7:
  warn condition = \${if eq{$acl_arg1}{x}}
       set acl_m_seen = $acl_arg1$acl_m_seen
  require condition = $acl_narg
  accept message = <$acl_m_seen>
a8:
  accept acl = a5
a9:
  accept verify = recipient
aa:
  accept domains = example.test
ab:
  warn condition = no
ac:
  require message = required
      condition = no
`;

export function makeFiles(folder: string): void {
  for (const d of ['spool', 'log', 'sub']) mkdirSync(path.join(folder, d));
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text, 'latin1');
  write('aliases', aliases);
  write('domains', domains);
  write('hosts', hosts);
  write('wild', wild);
  write('two-lines', 'first\nsecond\n');
  write('empty', '');
  write('message', message);
  write('main.conf', config(folder));
}
