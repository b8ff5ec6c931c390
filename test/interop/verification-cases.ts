/** What is asked of the real Exim and of ours in test/interop/verification.test.ts. */
import type { ServerName } from '../support/verification-world.ts';

export interface VerificationCase {
  readonly name: string;
  /** The servers' kind (default `usual`), or `two`, `down` of the world's routers. */
  readonly server?: ServerName | 'two' | 'down';
  /** Statement of the RCPT ACL; behind it stands an `accept` that shows variables. */
  readonly rcpt?: string;
  /** Local parts in the case's own domain. */
  readonly to?: readonly string[];
  /** The sender's local part in that domain; a whole address where it has an `@`, empty for `<>`. */
  readonly from?: string;
  /** Statement of the DATA ACL, for which a message with this header is sent; a `deny` behind it shows variables. */
  readonly data?: string;
  readonly header?: readonly string[];
  /** Local parts about which only Exim asks: a postmaster, where the address itself was refused. */
  readonly fewer?: readonly string[];
  /** Exim asks about it earlier, for the same reason. */
  readonly anyOrder?: true;
}

const shown =
  'svf=$sender_verify_failure rvf=$recipient_verify_failure avm=${sg{$acl_verify_message}{\\n}{/}} ad=$address_data sad=$sender_address_data dd=$domain_data lpd=$local_part_data';

export function aclsOf(cases: readonly VerificationCase[]): string {
  return cases
    .map(
      (c, i) => `rcpt_c${i}:
  ${c.rcpt ?? ''}
  accept message = ${shown}
data_c${i}:
  ${c.data ?? ''}
  deny message = data svf=$sender_verify_failure avm=\${sg{$acl_verify_message}{\\n}{/}}
`,
    )
    .join('');
}

export function commandsOf(c: VerificationCase, i: number): string[] {
  const domain = `d${i}.${c.server ?? 'usual'}.test`;
  const whole = (local: string): string =>
    local === '' || local.includes('@') ? local : `${local}@${domain}`;
  return [
    `MAIL FROM:<${whole(c.from ?? 'sender')}>`,
    ...(c.to ?? ['ok']).map((to) => `RCPT TO:<${whole(to)}>`),
    ...(c.data === undefined
      ? []
      : [
          'DATA',
          `${(c.header ?? []).map((line) => line.replaceAll('DOMAIN', domain)).join('\r\n')}\r\n\r\nbody\r\n.`,
        ]),
  ];
}

/** Exim asks about the postmaster of an address that was refused, too. */
function postmasterQuestions(
  verify: string,
  header: readonly string[],
): Pick<VerificationCase, 'fewer' | 'anyOrder'> {
  if (!verify.endsWith('postmaster')) return {};
  const lines = header.join('\n');
  return lines.includes('bad@') && !lines.includes('ok@') ? { fewer: ['postmaster'] } : { anyOrder: true };
}

const recipient = 'require verify = recipient';
const sender = 'require verify = sender';
const everybody = [
  'ok',
  'bad',
  'bad2',
  'tmp',
  'bye',
  'full',
  'fail',
  'defer',
  'one',
  'onebad',
  'onefail',
  'many',
  'unroutable',
  'UPPER',
];
const badSessions = [
  'banner554',
  'banner421',
  'bannerbad',
  'helo550',
  'helo451',
  'mail550',
  'mail451',
  'nobounce',
] as const;

/** A text that ours reads only when mail comes, as Exim does. */
const late = (text: string): string => `require verify = \${if eq{1}{1}{${text}}}`;

export const cases: readonly VerificationCase[] = [
  // routing only
  { name: 'recipient', rcpt: recipient, to: everybody },
  {
    name: 'recipient with message',
    rcpt: 'require message = no: $acl_verify_message\n verify = recipient',
    to: everybody,
  },
  { name: 'recipient/defer_ok', rcpt: `${recipient}/defer_ok`, to: everybody },
  { name: 'recipient, denied', rcpt: 'deny ! verify = recipient', to: everybody },
  {
    name: 'recipient, warned',
    rcpt: 'warn ! verify = recipient\n log_message = unverified $acl_verify_message',
    to: everybody,
  },
  { name: 'recipient/success_on_redirect', rcpt: `${recipient}/success_on_redirect`, to: everybody },
  ...['ok', 'fail', 'defer', 'one', 'onefail', 'many', 'unroutable', ''].flatMap(
    (from): VerificationCase[] => [
      { name: `sender ${from}`, rcpt: sender, from },
      { name: `sender/defer_ok ${from}`, rcpt: `${sender}/defer_ok`, from },
      { name: `sender/no_details ${from}`, rcpt: `${sender}/no_details`, from, to: ['ok', 'ok2'] },
      { name: `sender/success_on_redirect ${from}`, rcpt: `${sender}/success_on_redirect`, from },
      { name: `sender, twice ${from}`, rcpt: sender, from, to: ['ok', 'ok2'] },
      {
        name: `sender, warned ${from}`,
        rcpt: 'warn ! verify = sender\n log_message = unverified $acl_verify_message',
        from,
        to: ['ok', 'ok2'],
      },
    ],
  ),
  { name: 'sender=address', rcpt: `${sender}=fail@x.usual.test` },
  { name: 'sender=address, good', rcpt: `${sender}=ok@x.usual.test` },
  // callouts
  { name: 'recipient/callout', rcpt: `${recipient}/callout`, to: everybody },
  { name: 'recipient/callout lmtp', server: 'lmtp', rcpt: `${recipient}/callout`, to: everybody },
  { name: 'recipient/callout, again', rcpt: `${recipient}/callout`, to: [...everybody, ...everybody] },
  {
    name: 'recipient/callout=no_cache',
    rcpt: `${recipient}/callout=no_cache`,
    to: ['ok', 'ok', 'bad', 'bad'],
  },
  { name: 'recipient/callout=defer_ok', rcpt: `${recipient}/callout=defer_ok`, to: everybody },
  { name: 'recipient/callout_defer_ok', rcpt: `${recipient}/callout/callout_defer_ok`, to: everybody },
  { name: 'recipient/defer_ok/callout', rcpt: `${recipient}/defer_ok/callout`, to: everybody },
  {
    name: 'recipient/callout with message',
    rcpt: 'require message = no: $acl_verify_message\n verify = recipient/callout',
    to: everybody,
  },
  {
    name: 'recipient/callout=use_sender',
    rcpt: `${recipient}/callout=use_sender`,
    to: ['ok', 'bad', 'ok', 'bad'],
  },
  {
    name: 'recipient/callout=use_postmaster',
    rcpt: `${recipient}/callout=use_postmaster`,
    to: ['ok', 'bad', 'ok', 'bad'],
  },
  { name: 'recipient/callout=hold', rcpt: `${recipient}/callout=hold`, to: ['ok', 'bad', 'ok', 'bad'] },
  {
    name: 'recipient/callout=success_on_redirect',
    rcpt: `${recipient}/success_on_redirect/callout`,
    to: everybody,
  },
  ...['recipient', 'recipient/callout', 'recipient/callout=postmaster', 'sender/callout'].flatMap(
    (verify): VerificationCase[] =>
      (verify === 'recipient' ? (['usual'] as const) : (['usual', 'nobody', ...badSessions] as const)).map(
        (server): VerificationCase => ({
          name: `warned: ${verify} ${server}`,
          server,
          rcpt: `warn ! verify = ${verify}\n logwrite = <$acl_verify_message> <$recipient_verify_failure> <$sender_verify_failure> <$sender_address_data>`,
          to: ['ok', 'unroutable'],
        }),
      ),
  ),
  {
    name: 'warned twice',
    rcpt: 'warn ! verify = recipient/callout\n warn verify = sender',
    to: ['bad', 'fail', 'defer', 'ok'],
  },
  { name: 'recipient/callout silent', rcpt: `${recipient}/callout=1s`, to: ['mute'] },
  {
    name: 'recipient/callout two hosts',
    server: 'two',
    rcpt: `${recipient}/callout`,
    to: ['ok', 'bad', 'tmp'],
  },
  { name: 'recipient/callout down', server: 'down', rcpt: `${recipient}/callout`, to: ['ok', 'ok'] },
  ...badSessions.flatMap((server): VerificationCase[] => [
    { name: `recipient/callout ${server}`, server, rcpt: `${recipient}/callout`, to: ['ok', 'ok2', 'ok'] },
    {
      name: `recipient/callout=use_sender ${server}`,
      server,
      rcpt: `${recipient}/callout=use_sender`,
      to: ['ok', 'ok2', 'ok'],
    },
    {
      name: `recipient/callout=defer_ok ${server}`,
      server,
      rcpt: `${recipient}/callout=defer_ok`,
      to: ['ok', 'ok2', 'ok'],
    },
    { name: `sender/callout ${server}`, server, rcpt: `${sender}/callout`, to: ['ok', 'ok2', 'ok'] },
  ]),
  ...['ok', 'bad', 'bad2', 'tmp', 'bye', 'fail', 'defer', 'one', 'onebad', 'many', 'unroutable', ''].flatMap(
    (from): VerificationCase[] => [
      { name: `sender/callout ${from}`, rcpt: `${sender}/callout`, from, to: ['ok', 'ok2'] },
      { name: `sender/callout=defer_ok ${from}`, rcpt: `${sender}/callout=defer_ok`, from },
      {
        name: `sender/callout/no_details ${from}`,
        rcpt: `${sender}/callout/no_details`,
        from,
        to: ['ok', 'ok2'],
      },
    ],
  ),
  // random
  ...(['usual', 'all', 'tmprandom', 'lmtp'] as const).flatMap((server): VerificationCase[] => [
    { name: `random ${server}`, server, rcpt: `${recipient}/callout=random`, to: ['ok', 'ok2', 'bad', 'ok'] },
    {
      name: `random,no_cache ${server}`,
      server,
      rcpt: `${recipient}/callout=random,no_cache`,
      to: ['ok', 'bad', 'ok'],
    },
    { name: `sender random ${server}`, server, rcpt: `${sender}/callout=random`, to: ['ok', 'ok2'] },
    {
      name: `sender random bad ${server}`,
      server,
      from: 'bad',
      rcpt: `${sender}/callout=random`,
      to: ['ok', 'ok2'],
    },
  ]),
  // postmaster
  ...(['usual', 'nopostmaster', 'nobody', 'tmppostmaster', 'all'] as const).flatMap(
    (server): VerificationCase[] =>
      [
        'postmaster',
        'fullpostmaster',
        'postmaster_mailfrom=pm@x.test',
        'postmaster_mailfrom=pm@x.test,fullpostmaster',
        'postmaster,random',
      ].flatMap((option): VerificationCase[] => [
        {
          name: `recipient/callout=${option} ${server}`,
          server,
          rcpt: `${recipient}/callout=${option}`,
          to: server === 'tmppostmaster' ? ['ok', 'ok'] : ['ok', 'bad', 'ok2', 'ok'],
        },
        {
          name: `sender/callout=${option} ${server}`,
          server,
          rcpt: `${sender}/callout=${option}`,
          to: ['ok', 'ok2'],
        },
      ]),
  ),
  { name: 'check_postmaster', server: 'nobody', rcpt: `${sender}/callout/check_postmaster` },
  {
    name: 'sender postmaster no_details',
    server: 'nobody',
    rcpt: `${sender}/no_details/callout=postmaster`,
    to: ['ok', 'ok2'],
  },
  // header
  ...[
    'verify = header_sender',
    'verify = header_sender/callout',
    'verify = header_sender/callout=mailfrom=m@x.test',
    'verify = header_sender/callout=postmaster',
    'verify = header_sender/defer_ok',
    'verify = header_sender/callout=defer_ok',
    'verify = header_sender/no_details',
  ].flatMap((verify): VerificationCase[] =>
    [
      ['From: ok@DOMAIN'],
      ['From: bad@DOMAIN'],
      ['From: tmp@DOMAIN'],
      ['From: fail@DOMAIN'],
      ['From: defer@DOMAIN'],
      ['From: bad@DOMAIN', 'Reply-To: ok@DOMAIN'],
      ['From: ok@DOMAIN', 'Sender: bad@DOMAIN'],
      ['From: bad@DOMAIN, defer@DOMAIN'],
      ['From: Some Body <ok@DOMAIN>'],
      ['From: nonsense @@ x'],
      ['Subject: none'],
      ['From: unqualified'],
      ['From:'],
    ].map(
      (header): VerificationCase =>
        Object.assign(postmasterQuestions(verify, header), {
          name: `${verify}: ${header.join(' ')}`,
          data: `require ${verify}`,
          header,
        }),
    ),
  ),
  {
    name: 'header_sender warned',
    data: 'warn ! verify = header_sender/callout\n log_message = unverified $acl_verify_message',
    header: ['From: bad@DOMAIN'],
  },
  { name: 'header_syntax', data: 'require verify = header_syntax', header: ['From: <ok@DOMAIN'] },
  { name: 'header_syntax good', data: 'require verify = header_syntax', header: ['From: <ok@DOMAIN>'] },
  { name: 'header_names_ascii', data: 'require verify = header_names_ascii', header: ['Fr\xf6m: ok@DOMAIN'] },
  {
    name: 'header_names_ascii good',
    data: 'require verify = header_names_ascii',
    header: ['From: \xf6k@DOMAIN'],
  },
  ...['not_blind', 'not_blind/case_insensitive', 'not_blind/other'].flatMap((verify): VerificationCase[] =>
    [
      ['To: ok@DOMAIN'],
      ['Cc: <ok@DOMAIN>, x@y.test'],
      ['To: OK@DOMAIN'],
      ['Bcc: ok@DOMAIN'],
      ['From: ok@DOMAIN'],
      ['Resent-To: ok@DOMAIN'],
      ['To: group: ok@DOMAIN;'],
    ].map(
      (header): VerificationCase => ({
        name: `${verify}: ${header.join(' ')}`,
        data: `require verify = \${if eq{1}{1}{${verify}}}`,
        header,
      }),
    ),
  ),
  {
    name: 'not_blind, two',
    data: 'require verify = not_blind',
    to: ['ok', 'ok2'],
    header: ['To: ok@DOMAIN'],
  },
  // host
  { name: 'helo', rcpt: 'require verify = helo' },
  // where it cannot be asked
  ...['header_sender', 'header_syntax', 'header_names_ascii', 'not_blind'].map(
    (what): VerificationCase => ({ name: `${what} in RCPT`, rcpt: late(what) }),
  ),
  {
    name: 'recipient in DATA',
    data: 'require verify = ${if eq{1}{1}{recipient}}',
    header: ['From: ok@DOMAIN'],
  },
  // mistakes
  ...[
    '',
    'nonsense',
    'recipient=x@y.test',
    'helo=x',
    'helo/x',
    'header_sender=x@y.test',
    'header_syntax/defer_ok',
    'recipient/nonsense',
    'recipient/defer_ok=x',
    'recipient/callout=nonsense',
    'recipient/callout=1x',
    'recipient/callout=connect=',
    'recipient/callout=connect',
    'recipient/callout=maxwait=x',
    'recipient/callout=mailfrom=x@y.test',
    'recipient/callout 5s',
    'recipient/callouts',
    'recipient/callout=defer_ok,use_sender,use_postmaster',
    'sender/callout=use_sender',
    'sender/callout=use_postmaster',
    'sender/callout=postmaster_mailfrom=',
    'sender/callout=postmaster_mailfrom',
    'sender/callout=mailfrom=a@b.test',
    'recipient/quota=x',
    'sender/quota',
    'recipient/callout=',
    'recipient / callout = 5s , defer_ok',
    'sender=',
    'sender=nonsense',
  ].map((text): VerificationCase => ({ name: `mistake: ${text}`, rcpt: late(text) })),
];
