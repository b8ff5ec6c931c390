/** The main option log_selector (Exim manual, "Reducing or increasing what is logged"). */
import type { SourceText } from '../mail/diagnostic.ts';
import { positionAt } from '../mail/source-text.ts';
import { isNameCharacter } from './lines.ts';
import type { Report } from './report.ts';
import { skipSpace } from './setting.ts';
import { didYouMean } from '../mail/suggest.ts';

/** Selected where the option does not say otherwise. */
const onByDefault = [
  'acl_warn_skipped',
  'connection_reject',
  'delay_delivery',
  'dkim',
  'dnslist_defer',
  'etrn',
  'host_lookup_failed',
  'lost_incoming_connection',
  'msg_id',
  'queue_run',
  'rejected_header',
  'retry_defer',
  'sender_verify_fail',
  'size_reject',
  'skip_delivery',
  'smtp_confirmation',
  'tls_certificate_verified',
  'tls_cipher',
] as const;

const offByDefault = [
  '8bitmime',
  'address_rewrite',
  'all_parents',
  'arguments',
  'deliver_time',
  'delivery_size',
  'dkim_verbose',
  'dnslist_defer',
  'dnssec',
  'ident_timeout',
  'incoming_interface',
  'incoming_port',
  'millisec',
  'msg_id_created',
  'outgoing_interface',
  'outgoing_port',
  'pid',
  'pipelining',
  'protocol_detail',
  'proxy',
  'queue_time',
  'queue_time_exclusive',
  'queue_time_overall',
  'receive_time',
  'received_recipients',
  'received_sender',
  'return_path_on_delivery',
  'sender_on_delivery',
  'smtp_connection',
  'smtp_incomplete_transaction',
  'smtp_mailauth',
  'smtp_no_mail',
  'smtp_protocol_error',
  'smtp_syntax_error',
  'subject',
  'tls_peerdn',
  'tls_resumption',
  'tls_sni',
  'unknown_in_list',
] as const;

export type LogSelector = (typeof onByDefault)[number] | (typeof offByDefault)[number];

/** Exim's old name for one of them. */
const synonyms: ReadonlyMap<string, string> = new Map([['rejected_headers', 'rejected_header']]);

/** Selectors that Mailchute's logs obey. */
export const obeyedLogSelectors: readonly LogSelector[] = [
  '8bitmime',
  'acl_warn_skipped',
  'address_rewrite',
  'all_parents',
  'arguments',
  'connection_reject',
  'delay_delivery',
  'deliver_time',
  'delivery_size',
  'host_lookup_failed',
  'incoming_interface',
  'incoming_port',
  'lost_incoming_connection',
  'millisec',
  'msg_id',
  'msg_id_created',
  'outgoing_interface',
  'outgoing_port',
  'pid',
  'pipelining',
  'queue_run',
  'queue_time',
  'queue_time_overall',
  'receive_time',
  'received_recipients',
  'received_sender',
  'rejected_header',
  'retry_defer',
  'return_path_on_delivery',
  'sender_on_delivery',
  'sender_verify_fail',
  'size_reject',
  'smtp_confirmation',
  'smtp_connection',
  'smtp_incomplete_transaction',
  'smtp_no_mail',
  'smtp_protocol_error',
  'smtp_syntax_error',
  'subject',
];

/** Selectors of what does not happen here, so that either setting logs the same: nothing. */
export const idleLogSelectors: readonly LogSelector[] = [
  'dkim',
  'dkim_verbose',
  'dnslist_defer',
  'etrn',
  'ident_timeout',
  'proxy',
  'smtp_mailauth',
  'tls_certificate_verified',
  'tls_cipher',
  'tls_peerdn',
  'tls_resumption',
  'tls_sni',
];

export const logSelectorNames: readonly string[] = [...onByDefault, ...offByDefault];

const told: ReadonlySet<string> = new Set([...obeyedLogSelectors, ...idleLogSelectors]);
const known: ReadonlySet<string> = new Set(logSelectorNames);

/** One `+name` or `-name`. */
interface Choice {
  readonly on: boolean;
  readonly name: string;
  readonly at: number;
}

/** Splits the option's text; a text says what is wrong. */
function parseChoices(text: string): readonly Choice[] | { readonly wrong: string; readonly at: number } {
  const choices: Choice[] = [];
  let at = skipSpace(text, 0);
  while (at < text.length) {
    const sign = text[at];
    if (sign !== '+' && sign !== '-')
      return {
        wrong: `malformed log_selector setting: + or - expected but found "${text.slice(at, at + 40)}"`,
        at,
      };
    let end = at + 1;
    while (isNameCharacter(text[end])) end++;
    choices.push({ on: sign === '+', name: text.slice(at + 1, end), at });
    at = skipSpace(text, end);
  }
  return choices;
}

/** What is selected with this value of the option; names that are not known are passed over. */
export function selectedLogItems(text: string): ReadonlySet<string> {
  const selected = new Set<string>(onByDefault);
  const choices = parseChoices(text);
  if ('wrong' in choices) return selected;
  for (const { on, name } of choices) {
    const names =
      name === 'all' ? logSelectorNames : [synonyms.get(name) ?? name].filter((n) => known.has(n));
    for (const n of names) {
      if (on) selected.add(n);
      else selected.delete(n);
    }
  }
  return selected;
}

/** Reports malformed and unknown selectors, and notes those that ask for what the logs do not tell. */
export function checkLogSelector(source: SourceText, report: Report): void {
  const choices = parseChoices(source.text);
  if ('wrong' in choices) {
    report.error(positionAt(source, choices.at), choices.wrong);
    return;
  }
  for (const { on, name, at } of choices) {
    const place = positionAt(source, at);
    const sign = on ? '+' : '-';
    const plain = synonyms.get(name) ?? name;
    if (name !== 'all' && !known.has(plain)) {
      report.error(place, `unknown log_selector setting: ${sign}${name}`, didYouMean(name, known));
    } else if (on && name !== 'all' && !told.has(plain)) {
      report.note(place, `log_selector +${name} has no effect: the logs do not tell it yet`);
    }
  }
}
