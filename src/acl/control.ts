/** `control = ...` (Exim manual, "Use of the control modifier"). */
import { messagePhases, type AclPhase } from './tables.ts';
import { nearest } from '../mail/suggest.ts';

/** What ACLs asked for beyond their verdict, for the message or for the connection. */
export interface AclControls {
  /** Put the message on the queue and freeze it. */
  freeze?: { readonly tell: boolean };
  /** No delivery at once: the next queue run does it. */
  queueOnly?: boolean;
  /** The message comes from a user's program: what it lacks is added. */
  submission?: { readonly senderRetain: boolean };
  /** Hand the message over while its sender waits; what is put off is spooled, or passed on to the sender. */
  direct?: { readonly defer: 'spool' | 'pass' };
  enforceSync?: boolean;
  noMultilineResponses?: boolean;
  noPipelining?: boolean;
}

export type AclControl =
  | { readonly kind: 'set'; readonly name: string; readonly controls: AclControls }
  | { readonly kind: 'local_part_case'; readonly name: string; readonly caseful: boolean }
  /** Turns off what this program never does. */
  | { readonly kind: 'nothing'; readonly name: string };

type Row = {
  readonly allowed: (phase: AclPhase) => boolean;
  readonly read: (options: readonly string[]) => AclControl | undefined;
};

const ofMessage = (p: AclPhase): boolean => messagePhases.has(p);
const ofSmtp = (p: AclPhase): boolean => p !== 'not_smtp' && p !== 'not_smtp_start';
const atRcpt = (p: AclPhase): boolean => p === 'rcpt';

function plain(name: string, controls: AclControls): Row['read'] {
  return (options) => (options.length === 0 ? { kind: 'set', name, controls } : undefined);
}

const nothing = (name: string): Row => ({
  allowed: ofSmtp,
  read: (options) => (options.length === 0 ? { kind: 'nothing', name } : undefined),
});

const caseRow = (name: string, caseful: boolean): Row => ({
  allowed: atRcpt,
  read: (options) => (options.length === 0 ? { kind: 'local_part_case', name, caseful } : undefined),
});

const rows: ReadonlyMap<string, Row> = new Map<string, Row>([
  ['caseful_local_part', caseRow('caseful_local_part', true)],
  ['caselower_local_part', caseRow('caselower_local_part', false)],
  ['dkim_disable_verify', nothing('dkim_disable_verify')],
  ['dmarc_disable_verify', nothing('dmarc_disable_verify')],
  ['cutthrough_delivery', { allowed: atRcpt, read: readCutthrough }],
  ['enforce_sync', { allowed: ofSmtp, read: plain('enforce_sync', { enforceSync: true }) }],
  ['no_enforce_sync', { allowed: ofSmtp, read: plain('no_enforce_sync', { enforceSync: false }) }],
  ['freeze', { allowed: ofMessage, read: readFreeze }],
  [
    'no_multiline_responses',
    { allowed: ofSmtp, read: plain('no_multiline_responses', { noMultilineResponses: true }) },
  ],
  ['no_pipelining', { allowed: ofSmtp, read: plain('no_pipelining', { noPipelining: true }) }],
  ['submission', { allowed: (p) => p === 'mail' || p === 'rcpt' || p === 'predata', read: readSubmission }],
  ['queue', { allowed: ofMessage, read: plain('queue', { queueOnly: true }) }],
  ['queue_only', { allowed: ofMessage, read: plain('queue_only', { queueOnly: true }) }],
]);

function readFreeze(options: readonly string[]): AclControl | undefined {
  if (options.length === 0) return { kind: 'set', name: 'freeze', controls: { freeze: { tell: true } } };
  if (options.length === 1 && options[0] === 'no_tell')
    return { kind: 'set', name: 'freeze', controls: { freeze: { tell: false } } };
  return undefined;
}

function readCutthrough(options: readonly string[]): AclControl | undefined {
  const controls = (defer: 'spool' | 'pass'): AclControl => ({
    kind: 'set',
    name: 'cutthrough_delivery',
    controls: { direct: { defer } },
  });
  if (options.length === 0) return controls('spool');
  const value = options.length === 1 ? /^defer=(spool|pass)$/.exec(options[0] ?? '')?.[1] : undefined;
  return value === 'spool' || value === 'pass' ? controls(value) : undefined;
}

/** `domain=` and `name=` hold for authenticated clients, of which there are none. */
function readSubmission(options: readonly string[]): AclControl | undefined {
  if (!options.every((o) => o === 'sender_retain' || /^(?:domain|name)=/.test(o))) return undefined;
  const senderRetain = options.includes('sender_retain');
  return { kind: 'set', name: 'submission', controls: { submission: { senderRetain } } };
}

const unsupported: ReadonlySet<string> = new Set(
  `allow_auth_unadvertised debug dscp dmarc_enable_forensic fakedefer fakereject no_callout_flush
   no_delay_flush no_mbox_unspool suppress_local_fixups utf8_downconvert`.split(/\s+/),
);

/** Every control of Exim that is understood, for the generated reference. */
export function listControls(): readonly { readonly name: string; readonly works: boolean }[] {
  return [
    ...[...rows.keys()].map((name) => ({ name, works: true })),
    ...[...unsupported].map((name) => ({ name, works: false })),
  ];
}

/** Reads `name/option/...`; a text is what is wrong with it. */
export function parseControl(text: string): AclControl | string {
  const [name = '', ...options] = text.trim().split('/');
  const row = rows.get(name);
  if (row !== undefined) return row.read(options) ?? `syntax error in "control=${text}"`;
  if (unsupported.has(name)) return `control = ${name} is not supported`;
  const near = nearest(name, [...rows.keys(), ...unsupported]);
  return `unknown control "${name}"${near === undefined ? '' : `, did you mean "${near}"?`}`;
}

export function controlAllowed(control: AclControl, phase: AclPhase): boolean {
  if (phase === 'delivery') return false;
  return rows.get(control.name)?.allowed(phase) ?? false;
}
