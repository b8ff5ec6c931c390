// What lists find out beside yes and no ($domain_data and the like), and lists that ask the DNS: conditions of an ACL of the
// real Exim, run by `-bh` in a network namespace where a scripted DNS server answers, against ours on the same zone.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { mailHosts } from '../../src/app/mail-hosts.ts';
import type { ExpandScope, ListAnswer, MatchKind } from '../../src/expand/scope.ts';
import { createLists, type NamedLists } from '../../src/list/match.ts';
import type { HostFact, ListEnvironment } from '../../src/list/model.ts';
import { createCdb } from '../../src/lookup/drivers/cdb.ts';
import { createDnsdb } from '../../src/lookup/drivers/dnsdb.ts';
import { createDsearch } from '../../src/lookup/drivers/dsearch.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import { createSqlite } from '../../src/lookup/drivers/sqlite.ts';
import { createIplsearch } from '../../src/lookup/drivers/wildlsearch.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import type { Domain, LocalPart } from '../../src/mail/address.ts';
import { addressText } from '../../src/net/dns/address-text.ts';
import { createDnsClient, type DnsClient } from '../../src/net/dns/client.ts';
import { dnsTypes } from '../../src/net/dns/message.ts';
import { cdbFile } from '../support/cdb-file.ts';
import { parseZone, startDnsServer, type DnsServer } from '../support/dns-server.ts';
import { zone } from '../support/dns-zone.ts';
import { eximSpool } from '../support/exim-be.ts';
import { namespaced, needsNamespaces } from '../support/namespace.ts';
import { needsRoot } from '../support/peers.ts';
import { temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('lists-data');
const file = (name: string): string => path.join(folder.path, name);

type Condition = 'domains' | 'local_parts' | 'senders' | 'recipients' | 'hosts' | 'sender_domains';
const variables: Readonly<Record<Condition, string>> = {
  domains: 'domain_data',
  // Exim keeps nothing of these.
  sender_domains: 'acl_m_nothing',
  local_parts: 'local_part_data',
  senders: 'sender_data',
  recipients: 'recipient_data',
  hosts: 'host_data',
};

interface Scenario {
  readonly client: string;
  readonly sender: string;
  readonly recipient: string;
  readonly questions: readonly (readonly [condition: Condition, list: string])[];
}

const ask = (condition: Condition, ...lists: string[]): (readonly [Condition, string])[] =>
  lists.map((l) => [condition, l]);

const namedTexts: Readonly<Record<MatchKind, Readonly<Record<string, string>>>> = {
  domain: {
    looked: `lsearch;${file('keys')}`,
    wild: '*.test',
    outer: 'x : +looked',
    literal: 'a.test : b.test',
    changing: '${sender_address_domain}',
    mx: '@mx_any',
    filed: file('domains'),
    negated: '! b.test',
  },
  host: { net: '192.0.2.0/24', netkeys: `net-lsearch;${file('keys')}`, named: '*.test' },
  address: { people: `lsearch;${file('keys')} : *@a.test` },
  local_part: { users: `lsearch;${file('keys')} : ^u` },
};

const mx = [
  '@mx_any',
  '@mx_primary',
  '@mx_secondary',
  '! @mx_any',
  '@MX_ANY',
  '@mx_any/ignore=127.0.0.1',
  '@mx_any/ignore=192.0.2.0/24',
  '@mx_primary/ignore=192.0.2.11',
  '<? @mx_any/ignore=<;127.0.0.1;::1 ? b.test',
  'x : @mx_any : y',
  '+mx',
];

const scenarios: readonly Scenario[] = [
  {
    client: '192.0.2.1',
    sender: 'Someone@b.test',
    recipient: 'User@a.test',
    questions: [
      ...ask(
        'domains',
        'a.test',
        'A.TEST',
        '*',
        '*.test',
        '*test',
        '^a',
        '\\N^(.)\\.te(st)$\\N',
        '! b.test',
        'b.test',
        '@',
        '+looked',
        '+wild',
        '+outer',
        '+literal',
        '+filed',
        '+negated',
        '! +literal',
        `lsearch;${file('keys')}`,
        `cdb;${file('data.cdb')}`,
        `partial-lsearch;${file('keys')}`,
        `lsearch*;${file('keys')}`,
        `lsearch,ret=key;${file('keys')}`,
        `lsearch,ret=full;${file('keys')}`,
        `dsearch;${folder.path}`,
        file('domains'),
        `! ${file('domains')}`,
        '+changing',
        'b.test : +wild',
        'dnsdb;a=a.test',
        'dnsdb;a=nothere.test',
        'dnsdb;a=fail.test',
        'dnsdb;a=fail.test : a.test',
        'a.test : dnsdb;a=fail.test',
        '<; a.test ; dnsdb;x',
        `sqlite;select v from t where k='\${quote_sqlite:$domain}'`,
        `sqlite;select v from t where k='none'`,
        ...mx,
      ),
      ...ask(
        'local_parts',
        'user',
        'User',
        '*',
        '*er',
        '^us',
        '\\N^u(.*)$\\N',
        '+caseful : User',
        '+caseful : user',
        '+users',
        `lsearch;${file('keys')}`,
        '! other',
        'user : x',
        '+caseful : *er',
        `lsearch*;${file('keys')}`,
      ),
      ...ask(
        'senders',
        'someone@b.test',
        '*@b.test',
        '*one@b.test',
        'b.test',
        '*.test',
        '*',
        '^some',
        '\\N^(.*)@b\\N',
        '+people',
        `lsearch;${file('keys')}`,
        `lsearch*@;${file('keys')}`,
        `someone@lsearch;${file('keys')}`,
        `@@lsearch;${file('keys')}`,
        '! x@y',
        ':',
        `*@+literal`,
        'someone@+wild',
        '+caseful : Someone@b.test',
        `someone@${file('domains')}`,
      ),
      ...ask('sender_domains', 'b.test', '*.test', `lsearch;${file('keys')}`, '@mx_any'),
      ...ask(
        'recipients',
        'user@a.test',
        '*@a.test',
        'a.test',
        `lsearch;${file('keys')}`,
        `user@lsearch;${file('keys')}`,
        '! x@y',
        '^user',
        '*@+looked',
        '*@*.test',
      ),
      ...ask(
        'hosts',
        '*',
        '192.0.2.1',
        '192.0.2.0/24',
        '+net',
        '+netkeys',
        '+named',
        '! 192.0.2.9',
        `net-lsearch;${file('keys')}`,
        `net24-lsearch;${file('keys')}`,
        `net-iplsearch;${file('networks')}`,
        `iplsearch;${file('networks')}`,
        'a.test',
        'A.TEST',
        'www.test',
        'b.test',
        '*.test',
        '*.TEST',
        '*b.test',
        '^a\\.',
        '\\N^alias\\.\\N',
        'nothere.test',
        'nothere.test : *',
        'fail.test',
        'fail.test : *',
        '+include_defer : fail.test',
        '+ignore_defer : fail.test : *',
        '+ignore_defer : fail.test',
        '+include_unknown : nothere.test',
        '+ignore_unknown : nothere.test : 192.0.2.1',
        '+ignore_unknown : nothere.test',
        '! nothere.test : *',
        '! fail.test : *',
        '+include_unknown : +ignore_defer : fail.test : nothere.test',
        `lsearch;${file('keys')}`,
        `lsearch;${file('keys')} : *`,
        '@',
        '@[]',
        'mx1.test',
        'six.test : 192.0.2.1',
        '<; 2001:db8::/32 ; 192.0.2.1',
        `sqlite;select v from t where k='host'`,
      ),
    ],
  },
  {
    client: '192.0.2.9',
    sender: '',
    recipient: 'u@mx.test',
    questions: [
      ...ask('domains', ...mx),
      ...ask('senders', ':', '*', '! a@b', '^$', `lsearch;${file('keys')}`, 'b.test'),
      ...ask(
        'hosts',
        '*.test',
        'liar.test',
        '+include_unknown : *.test',
        '+ignore_unknown : *.test : *',
        '+ignore_unknown : *.test',
        '! *.test',
        '! *.test : *',
        '192.0.2.9',
        `lsearch;${file('keys')}`,
        `+include_unknown : lsearch;${file('keys')}`,
      ),
    ],
  },
  {
    client: '2001:db8::1',
    sender: 'x@nothere.test',
    recipient: 'u@primary.test',
    questions: [
      ...ask('domains', ...mx),
      ...ask(
        'hosts',
        '*.test',
        'a.test',
        'b.test',
        '2001::db8::::/32',
        '<; 2001:db8::1',
        `net-lsearch;${file('keys')}`,
        `net32-lsearch;${file('keys')}`,
        `net-iplsearch;${file('networks')}`,
        '^a',
      ),
    ],
  },
  {
    client: '127.0.0.1',
    sender: 'x@y',
    recipient: 'u@secondary.test',
    questions: [...ask('domains', ...mx), ...ask('hosts', '@[]', '@', '*.test', '127.0.0.0/8')],
  },
  {
    client: '198.51.100.7',
    sender: 'x@y',
    recipient: 'u@foreign.test',
    questions: [
      ...ask('domains', ...mx),
      ...ask('hosts', '*.test', '+include_unknown : *.test', '198.51.100.7'),
    ],
  },
  ...[
    'nullmx.test',
    'missingmx.test',
    'deadmx.test',
    'b.test',
    'nothere.test',
    'mx.example.test',
    '[127.0.0.1]',
    '[192.0.2.77]',
  ].map((domain) => ({
    client: '192.0.2.1',
    sender: 'x@y',
    recipient: `u@${domain}`,
    questions: ask('domains', ...mx.slice(0, 4), '@', '@[]', '! @[]'),
  })),
];

/** Numbers in front of every statement's log line tell which question it belongs to. */
function configText({ questions }: Scenario): string {
  const statements = questions.map(
    ([condition, list], i) =>
      `  warn ${condition} = ${list}\n       logwrite = Q${i} <$${variables[condition]}>\n  warn logwrite = E${i}\n`,
  );
  const keywords = {
    domain: 'domainlist',
    host: 'hostlist',
    address: 'addresslist',
    local_part: 'localpartlist',
  };
  const named = Object.entries(namedTexts).flatMap(([kind, all]) =>
    Object.entries(all).map(([name, text]) => `${keywords[kind as MatchKind]} ${name} = ${text}`),
  );
  return `primary_hostname = mx.example.test
spool_directory = ${file('spool')}
log_file_path = ${file('spool')}/%slog
keep_environment =
allow_domain_literals
sqlite_dbfile = ${file('data.db')}
dns_retrans = 10s
dns_retry = 1
host_lookup =
rfc1413_query_timeout = 0s
helo_allow_chars = _
acl_smtp_rcpt = rcpt
${named.join('\n')}
begin acl
rcpt:
${statements.join('')}  accept
`;
}

async function exim(scenario: Scenario, number: number): Promise<string[]> {
  const config = file(`exim-${number}.conf`);
  writeFileSync(config, configText(scenario));
  chmodSync(config, 0o644);
  const input = file(`dialogue-${number}`);
  writeFileSync(
    input,
    `EHLO x\r\nMAIL FROM:<${scenario.sender}>\r\nRCPT TO:<${scenario.recipient}>\r\nQUIT\r\n`,
  );
  const output = await namespaced(folder.path, zone, `exim4 -C ${config} -bh ${scenario.client} < ${input}`);
  return scenario.questions.map((_, i) => {
    const from = i === 0 ? 0 : output.indexOf(`\nLOG: E${i - 1}\n`);
    const to = output.indexOf(`\nLOG: E${i}\n`);
    if (from < 0 || to < 0) throw new Error(`Exim stopped before question ${i}:\n${output.slice(-1500)}`);
    const part = output.slice(from, to);
    const yes = new RegExp(`\nLOG: Q${i} (<.*>)\n?`).exec(`${part}\n`);
    return yes?.[1] ?? (/condition test deferred/.test(part) ? 'defer' : 'no');
  });
}

/** The machine as the namespace has it: only the loopback interface. */
function environmentOf(client: DnsClient): ListEnvironment {
  const addresses = async (name: string): Promise<HostFact> => {
    const answers = [await client.query(name, dnsTypes.AAAA), await client.query(name, dnsTypes.A)];
    const values = answers.flatMap((a) =>
      a.kind === 'answer'
        ? a.records.flatMap(({ data }) => (data.kind === 'address' ? [addressText(data.octets)] : []))
        : [],
    );
    const again = answers.find((a) => a.kind === 'again');
    if (values.length > 0) return { kind: 'found', values };
    return again === undefined ? { kind: 'missing' } : { kind: 'defer', reason: 'away' };
  };
  return {
    localAddresses: () => ['127.0.0.1', '::1'],
    addressesOf: addresses,
    mailHostsOf: mailHosts(client),
    async namesOf(address) {
      const reverse = createDnsdb({ client }).find('', `ptr=<; ${address}`, []);
      const answer = await reverse;
      if (answer.kind !== 'found') return { kind: 'missing' };
      const good: string[] = [];
      for (const name of answer.value.split('\n')) {
        const forward = await addresses(name);
        if (forward.kind === 'found' && forward.values.includes(address)) good.push(name);
      }
      return good.length === 0 ? { kind: 'missing' } : { kind: 'found', values: good };
    },
  };
}

/** What Exim's variable holds after a match: for addresses the value of an earlier one where this one has none. */
function valueOf(condition: Condition, data: string | undefined, kept: Map<string, string>): string {
  const variable = variables[condition];
  const text = data?.replaceAll('\n', '\\n');
  if (condition === 'sender_domains') return '';
  if (condition === 'senders' || condition === 'recipients') {
    if (text !== undefined) kept.set(variable, text);
    return kept.get(variable) ?? '';
  }
  return text ?? '';
}

/**
 * Where ours is meant to differ. Of a pattern whose local part begins with a star Exim takes as many characters for the value
 * as the local part of the address has: `*@b.tes@b.test`.
 */
const differences: ReadonlyMap<string, string> = new Map([
  ['senders = *@b.test', '<*@b.test>'],
  ['senders = *one@b.test', '<*one@b.test>'],
  ['senders = *@+literal', '<*@b.test>'],
  ['recipients = *@a.test', '<*@a.test>'],
  ['recipients = *@+looked', '<*@data of a>'],
  ['recipients = *@*.test', '<*@*.test>'],
]);

suite('lists in ACLs agree with the real Exim', { skip: needsRoot('exim4') || needsNamespaces() }, () => {
  let server: DnsServer;
  before(async () => {
    server = await startDnsServer(parseZone(zone));
    const content: Readonly<Record<string, string | Buffer>> = {
      keys: 'a.test: data of a\n*.wild.test: wild\nuser: data of user\nuser@a.test: whole address\nb.test: someone : other\nsomeone@b.test:\n192.0.2.1: one\n"192.0.2.0/24": net\n2001.0db8.0000.0000.0000.0000.0000.0001: six\n2001.0db8.0000.0000.0000.0000.0000.0000/32: net six\n*: default\n',
      networks: '192.0.2.0/24: net\n"2001:db8::/32": six\n',
      domains: 'x.test\na.test # comment\n',
      'a.test': '',
      'data.cdb': cdbFile([['a.test', 'from cdb']]),
    };
    for (const [name, text] of Object.entries(content)) {
      writeFileSync(file(name), text);
      chmodSync(file(name), 0o644);
    }
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(file('data.db'));
    database.exec(
      "create table t(k text, v text); insert into t values ('a.test', 'from sqlite'), ('host', 'h')",
    );
    database.close();
    chmodSync(file('data.db'), 0o666);
    chmodSync(folder.path, 0o777);
    eximSpool(folder.path);
  });
  after(async () => {
    await server.stop();
    folder.remove();
  });

  for (const [number, scenario] of scenarios.entries())
    test(`${scenario.questions.length} lists, ${scenario.sender || 'no sender'} at ${scenario.client} to ${scenario.recipient}`, async () => {
      const theirs = await exim(scenario, number);
      const client = createDnsClient({
        settings: () => ({
          servers: [{ address: '127.0.0.1', port: server.port }],
          timeoutMs: 10_000,
          attempts: 1,
        }),
      });
      const named: NamedLists = { get: (kind, name) => namedTexts[kind][name] };
      const lists = createLists(named, environmentOf(client));
      const [local = '', domain = ''] = scenario.recipient.split('@');
      const [senderLocal = '', senderDomain = ''] = scenario.sender.split('@');
      const scope: ExpandScope = {
        main: {
          primaryHostname: 'mx.example.test',
          qualifyDomain: 'mx.example.test',
          qualifyRecipient: 'mx.example.test',
          spoolDirectory: file('spool'),
          configFile: '/',
        },
        services: {
          lookup: createLookups([
            createLsearch(),
            createCdb(),
            createDsearch(),
            createIplsearch(),
            createSqlite({ file: file('data.db') }),
            createDnsdb({ client }),
          ]),
          matchList: lists.matchList,
        },
        connection: {
          hostAddress: scenario.client,
          hostPort: 1,
          interfaceAddress: '',
          interfacePort: 0,
          protocol: 'esmtp',
          variables: new Map(),
        },
        message: {
          sender:
            scenario.sender === ''
              ? null
              : { local: senderLocal as LocalPart, domain: senderDomain as Domain },
          declaredSize: -1,
          size: -1,
          bodyIs8bit: false,
          recipients: [],
          rcptCount: 1,
          receivedAtMs: 0,
          variables: new Map(),
        },
        address: {
          local: local.toLowerCase(),
          domain,
          original: { local: local as LocalPart, domain: domain as Domain },
        },
      };
      const match = ([condition, list]: Scenario['questions'][number]): ListAnswer | Promise<ListAnswer> => {
        switch (condition) {
          case 'domains':
            return lists.matchDomainList(list, domain, scope);
          case 'sender_domains':
            return lists.matchDomainList(list, senderDomain, scope);
          case 'local_parts':
            return lists.matchLocalPartList(list, local, scope);
          case 'senders':
            return lists.matchAddressList(list, scenario.sender, scope);
          case 'recipients':
            return lists.matchAddressList(list, scenario.recipient, scope);
          case 'hosts':
            return lists.matchHostList(list, scenario.client, scope);
        }
      };
      const kept = new Map<string, string>();
      const different: string[] = [];
      for (const [i, question] of scenario.questions.entries()) {
        const answer = await match(question);
        const data = answer.kind === 'yes' ? valueOf(question[0], answer.data, kept) : '';
        const mine = answer.kind === 'yes' ? `<${data}>` : answer.kind;
        const text = question.join(' = ').replaceAll(folder.path, '');
        if (mine !== (differences.get(text) ?? theirs[i]))
          different.push(`${text}: exim ${theirs[i]}, ours ${mine}`);
      }
      assert.deepEqual(different, []);
    });
});
