// What a broken store may say, and what must become of each recipient.
import { type Act, extensions, type Script } from './scripted-server.ts';

/** `done`: a 2xx at its position. `again`: no answer, or a temporary one. `failed`: 5xx. */
export type Fate = 'done' | 'again' | 'failed';

/** How the store lets itself be asked: each makes the edge's client take another way through the dialogue. */
export type Dialect = 'BDAT in one flight' | 'DATA, pipelined' | 'BDAT, one by one' | 'DATA, one by one';

export const dialects: Readonly<Record<Dialect, string>> = {
  'BDAT in one flight': extensions.all,
  'DATA, pipelined': extensions.pipelining,
  'BDAT, one by one': extensions.chunking,
  'DATA, one by one': extensions.none,
};
export const dialectNames: readonly Dialect[] = Object.keys(dialects) as Dialect[];

export type Link = 'tcp' | 'unix';
export const links: readonly Link[] = ['tcp', 'unix'];

/** Links and dialects in turn, where each case over each would take too long. */
export function taking(
  n: number,
  m: number,
): { readonly links: readonly [Link]; readonly dialects: readonly [Dialect] } {
  const dialect = dialectNames[((n >> 1) + m) % dialectNames.length];
  return { links: [(n + m) % 2 === 0 ? 'tcp' : 'unix'], dialects: [dialect ?? 'DATA, pipelined'] };
}

export interface FaultyCase {
  readonly name: string;
  readonly script: Script;
  /** One per recipient, in order: what is known of it after the first attempt. */
  readonly fates: readonly Fate[];
  /** Has to be waited for: the edge's timeouts must be short. */
  readonly slow?: boolean;
  /** Content that does not fit a socket's buffers. */
  readonly large?: boolean;
  /** Only these; all where absent. */
  readonly dialects?: readonly Dialect[];
  /** A socket's buffers on TCP hold any message, so what needs a full one runs over UNIX sockets only. */
  readonly links?: readonly Link[];
  /** The connection is good for the next message; `perhaps` where the dialect decides. Else it must not be used again. */
  readonly keeps?: true | 'perhaps' | undefined;
}

export const recipientCount = 6;

const ok = '250 2.0.0 saved\r\n';
const full = '552 5.2.2 mailbox is full\r\n';
const busy = '451 4.3.0 try later\r\n';
const close: Act = { say: '', close: true };

const letters = { o: 'done', a: 'again', x: 'failed' } as const;

/** `oax` for done, again, failed; the last letter holds for the rest. */
function fates(text: string): readonly Fate[] {
  return Array.from(
    { length: recipientCount },
    (_, i) => letters[(text[i] ?? text.at(-1) ?? 'o') as keyof typeof letters],
  );
}

/** Answers after the content by position; the last one holds for the rest. */
function answers(...acts: readonly Act[]): Script {
  return { content: (i) => acts[Math.min(i, acts.length - 1)] ?? ok };
}

/** No reply at all, or one nobody can use. What goes on afterwards cannot be understood any more. */
export const nonsense: Readonly<Record<string, Act>> = {
  'a line without a code': 'saved, thank you\r\n',
  'letters for a code': 'abc 2.0.0 saved\r\n',
  'an empty line': '\r\n',
  'a code of two digits': '25 saved\r\n',
  'a code of four digits': '2500 saved\r\n',
  'no space after the code': '250:saved\r\n',
  '100': '100 working on it\r\n',
  '600': '600 saved\r\n',
  'two codes in one reply': '250-saved\r\n550 or not\r\n',
  'a line without end': { say: '', endless: '250 '.padEnd(512, 'x') },
  'a reply without end': { say: '', endless: '250-and more\r\n' },
  'a close': close,
  'a reset': { say: '', close: 'reset' },
  '421': { say: '421 4.3.2 going down\r\n', close: true },
};

/** As above, and has to be waited for. */
export const slowNonsense: Readonly<Record<string, Act>> = {
  silence: { say: '', deaf: true },
  'an octet now and then': { say: '', endless: '2', everyMs: 200 },
  'a line of a reply now and then': { say: '', endless: '250-wait\r\n', everyMs: 200 },
};

/** Replies after the content. */
export const contentCases: readonly FaultyCase[] = [
  { name: 'all well', script: {}, fates: fates('o'), keeps: true },
  { name: 'two replies, then a close', script: answers(ok, ok, close), fates: fates('ooa') },
  {
    name: 'two replies, then silence',
    script: answers(ok, full, { say: '', deaf: true }),
    fates: fates('oxa'),
    slow: true,
  },
  { name: 'dies between the final dot and the replies', script: answers(close), fates: fates('a') },
  {
    name: 'dies after one reply of each kind',
    script: answers(ok, full, busy, { say: '', close: 'reset' }),
    fates: fates('oxa'),
  },
  {
    name: 'dies before the last reply',
    script: answers(ok, ok, ok, ok, full, close),
    fates: fates('ooooxa'),
  },
  {
    name: 'too many replies',
    script: answers(ok, full, ok, busy, ok, ok + full + busy + ok),
    fates: fates('oxoao'),
  },
  {
    name: 'partial failures',
    script: answers(ok, full, busy, ok, full, busy),
    fates: fates('oxaoxa'),
    keeps: true,
  },
  {
    name: 'a duplicate is taken and its twin refused',
    script: answers(ok, full, full, full, busy, ok),
    fates: fates('oxxxao'),
    keeps: true,
  },
  {
    name: 'a duplicate is refused and its twin taken',
    script: answers(full, busy, ok, busy, ok, busy),
    fates: fates('xaoaoa'),
    keeps: true,
  },
  {
    name: '354 for one recipient',
    script: answers(ok, '354 more, please\r\n', ok),
    fates: fates('oao'),
    keeps: true,
  },
  {
    name: '421 in the middle, and replies behind it',
    script: answers(ok, full, '421 4.3.2 going down\r\n', ok),
    fates: fates('oxa'),
  },
  {
    name: 'replies of many lines, and other 2xx codes',
    script: answers(
      '250-2.0.0 saved\r\n250-2.0.0 and\r\n250 2.0.0 sound\r\n',
      '251 forwarded\r\n',
      '299\r\n',
      '250 bare LF\n',
    ),
    fates: fates('o'),
    keeps: true,
  },
  ...Object.entries({ ...nonsense, ...slowNonsense }).map(
    ([what, act], i): FaultyCase => ({
      name: `${what} in the middle`,
      script: answers(ok, full, ok, act, ok),
      fates: fates('oxoa'),
      slow: what in slowNonsense,
      dialects: taking(i, 0).dialects,
    }),
  ),
  {
    name: 'a reply together with 354, before there is any content',
    script: { data: `354 go ahead\r\n${ok}` },
    fates: fates('a'),
    dialects: ['DATA, pipelined', 'DATA, one by one'],
  },
  ...Object.entries({ '2xx': ok, '5xx': full }).map(
    ([what, said]): FaultyCase => ({
      name: `${what} before the content is complete`,
      script: { early: { say: said, deaf: true } },
      // A refusal can be believed, for the one recipient whose turn it is.
      fates: fates(what === '5xx' ? 'xa' : 'a'),
      large: true,
      links: ['unix'],
    }),
  ),
  {
    name: 'stops reading in the middle of the content',
    script: { early: { say: '', deaf: true } },
    fates: fates('a'),
    large: true,
    slow: true,
    links: ['unix'],
  },
  {
    name: 'dies in the middle of the content',
    script: { early: { say: '', close: 'reset' } },
    fates: fates('a'),
    large: true,
  },
];

export type Stage = 'banner' | 'helo' | 'mail' | 'rcpt';

/** The stage's answer is `act`; of several RCPTs the third one's is. */
export function scriptAt(stage: Stage, act: Act, rcptIndex: number): Script {
  switch (stage) {
    case 'banner':
      return { banner: act };
    case 'helo':
      return { helo: () => act };
    case 'mail':
      return { mail: () => act };
    case 'rcpt':
      return { rcpt: (_, i) => (i === rcptIndex ? act : '250 2.1.5 ok\r\n') };
  }
}

export const stages: readonly Stage[] = ['banner', 'helo', 'mail', 'rcpt'];

/** Nonsense before the content: nobody has been delivered to. */
export const envelopeCases: readonly FaultyCase[] = stages.flatMap((stage) =>
  Object.entries({ ...nonsense, '354': '354 go ahead\r\n', ...slowNonsense }).map(
    ([what, act], i): FaultyCase => ({
      name: `${what} at ${stage}`,
      script: scriptAt(stage, act, 2),
      // A lone 3xx is a reply, to that recipient only.
      fates: fates(what === '354' && stage === 'rcpt' ? 'ooao' : 'a'),
      slow: what in slowNonsense,
      keeps: what === '354' ? 'perhaps' : undefined,
      links: taking(i, stages.indexOf(stage)).links,
      dialects: taking(i, stages.indexOf(stage)).dialects,
    }),
  ),
);
