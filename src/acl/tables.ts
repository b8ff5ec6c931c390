/** The words of the ACL language and where each may stand (Exim manual, "ACL conditions", "ACL modifiers"). */

/** When an ACL runs, after the options `acl_smtp_...` and `acl_not_smtp...`. */
export type AclPhase =
  | 'auth'
  | 'connect'
  | 'data'
  /** No command of SMTP: an expansion in a router, a transport or a main option calls it. */
  | 'delivery'
  | 'etrn'
  | 'expn'
  | 'helo'
  | 'mail'
  | 'mailauth'
  | 'not_smtp'
  | 'not_smtp_start'
  | 'notquit'
  | 'predata'
  | 'quit'
  | 'rcpt'
  | 'starttls'
  | 'vrfy';

/** What Exim calls the phase in its messages, and the code of a refusal there. */
export const phases: Readonly<Record<AclPhase, { readonly title: string; readonly denyCode: number }>> = {
  auth: { title: 'AUTH', denyCode: 503 },
  connect: { title: 'connection', denyCode: 550 },
  data: { title: 'DATA', denyCode: 550 },
  delivery: { title: 'unknown', denyCode: 550 },
  etrn: { title: 'ETRN', denyCode: 458 },
  expn: { title: 'EXPN', denyCode: 550 },
  helo: { title: 'EHLO or HELO', denyCode: 550 },
  mail: { title: 'MAIL', denyCode: 550 },
  mailauth: { title: 'MAILAUTH', denyCode: 550 },
  not_smtp: { title: 'non-SMTP', denyCode: 550 },
  not_smtp_start: { title: 'non-SMTP-start', denyCode: 550 },
  notquit: { title: 'NOTQUIT', denyCode: 550 },
  predata: { title: 'PREDATA', denyCode: 550 },
  quit: { title: 'QUIT', denyCode: 550 },
  rcpt: { title: 'RCPT', denyCode: 550 },
  starttls: { title: 'STARTTLS', denyCode: 454 },
  vrfy: { title: 'VRFY', denyCode: 252 },
};

/** Phases that are about receiving a message, where `discard` and message controls make sense. */
export const messagePhases: ReadonlySet<AclPhase> = new Set([
  'mail',
  'rcpt',
  'predata',
  'data',
  'not_smtp',
  'not_smtp_start',
]);

export type Verb = 'accept' | 'defer' | 'deny' | 'discard' | 'drop' | 'require' | 'warn';

export const verbs: ReadonlySet<string> = new Set<Verb>([
  'accept',
  'defer',
  'deny',
  'discard',
  'drop',
  'require',
  'warn',
]);

export type ListCondition = 'domains' | 'hosts' | 'local_parts' | 'recipients' | 'sender_domains' | 'senders';

type Allowed = (phase: AclPhase) => boolean;

const smtpOnly: Allowed = (p) => p !== 'not_smtp' && p !== 'not_smtp_start';
const withRecipient: Allowed = (p) => p === 'rcpt' || p === 'vrfy';
const withMessage: Allowed = (p) => messagePhases.has(p);
const withSender: Allowed = (p) => messagePhases.has(p) || p === 'notquit' || p === 'delivery';
const anywhere: Allowed = () => true;

export type ConditionName = ListCondition | 'acl' | 'authenticated' | 'condition' | 'encrypted' | 'verify';

export const conditions: ReadonlyMap<string, { readonly name: ConditionName; readonly allowed: Allowed }> =
  new Map(
    (
      [
        ['acl', anywhere],
        ['authenticated', (p) => smtpOnly(p) && p !== 'connect' && p !== 'helo'],
        ['condition', anywhere],
        ['domains', withRecipient],
        ['encrypted', (p) => smtpOnly(p) && p !== 'helo'],
        ['hosts', smtpOnly],
        ['local_parts', withRecipient],
        ['recipients', (p) => p === 'rcpt'],
        ['sender_domains', withSender],
        ['senders', withSender],
        ['verify', anywhere],
      ] as const satisfies readonly (readonly [ConditionName, Allowed])[]
    ).map(([name, allowed]) => [name, { name, allowed }]),
  );

export type ModifierName =
  | 'add_header'
  | 'continue'
  | 'control'
  | 'delay'
  | 'endpass'
  | 'log_message'
  | 'log_reject_target'
  | 'logwrite'
  | 'message'
  | 'remove_header'
  | 'set';

export const modifiers: ReadonlyMap<string, { readonly name: ModifierName; readonly allowed: Allowed }> =
  new Map(
    (
      [
        ['add_header', withMessage],
        ['continue', anywhere],
        ['control', anywhere],
        ['delay', (p) => p !== 'notquit'],
        ['endpass', anywhere],
        ['log_message', anywhere],
        ['log_reject_target', anywhere],
        ['logwrite', anywhere],
        ['message', anywhere],
        ['remove_header', withMessage],
        ['set', anywhere],
      ] as const satisfies readonly (readonly [ModifierName, Allowed])[]
    ).map(([name, allowed]) => [name, { name, allowed }]),
  );

/** What Exim 4.96 knows and this program does not do: refused by name, with what it would need. */
export const refused: ReadonlyMap<string, string> = new Map([
  ['decode', 'content scanning'],
  ['dnslists', 'DNS block lists'],
  ['malware', 'content scanning'],
  ['mime_regex', 'content scanning'],
  ['queue', 'named queues'],
  ['ratelimit', 'rate limits'],
  ['regex', 'content scanning'],
  ['seen', 'the seen database'],
  ['spam', 'content scanning'],
  ['spf', 'SPF'],
  ['spf_guess', 'SPF'],
  ['dkim_signers', 'DKIM'],
  ['dkim_status', 'DKIM'],
  ['dmarc_status', 'DMARC'],
  ['udpsend', 'sending UDP packets'],
]);

/** All words that may begin a condition or modifier, for "did you mean". */
export const stepNames: readonly string[] = [...conditions.keys(), ...modifiers.keys(), ...refused.keys()];
