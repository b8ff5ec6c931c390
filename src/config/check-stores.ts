/** Checks of stores as far as the file alone shows them; what they say about their users is in check-directories.ts. */
import { splitList } from '../mail/list-text.ts';
import type { CheckedInstance } from './checked.ts';
import { parseListenAddress } from './listen-address.ts';
import type { Report } from './report.ts';

/** With nothing of them no mail could come in, or none be handed on. */
const positive = [
  'max_connections',
  'idle_timeout',
  'tls_handshake_timeout',
  'proxy_timeout',
  'proxy_connect_timeout',
  'proxy_max_connections',
  'quota_warning_timeout',
] as const;

/** What options do nothing without. */
const dependent: readonly (readonly [string, readonly string[]])[] = [
  [
    'tls_certificate',
    ['tls_listen', 'tls_privatekey', 'tls_require_ciphers', 'tls_min_protocol', 'tls_handshake_timeout'],
  ],
  [
    'quota',
    [
      'quota_rule',
      'quota_grace',
      'quota_warning',
      'quota_warning_timeout',
      'quota_max_mail_size',
      'quota_exceeded_message',
      'quota_full_tempfail',
      'lmtp_rcpt_check_quota',
    ],
  ],
];

export function checkStore(store: CheckedInstance, report: Report): void {
  const { name, given, position } = store;
  if (!given.has('sockets') && !given.has('listen') && !given.has('tls_listen'))
    report.error(position, `${name} store: sockets, listen or tls_listen must be set`);
  for (const option of ['listen', 'tls_listen', 'sockets']) {
    const list = given.get(option)?.sources[0];
    if (list === undefined) continue;
    for (const item of splitList(list.text)) {
      if (option !== 'sockets') {
        if (parseListenAddress(item) === undefined)
          report.error(
            list.position,
            `malformed address and port "${item}"`,
            'write "<; 127.0.0.1:24 ; [::1]:24"',
          );
      } else if (!item.startsWith('/'))
        report.error(list.position, `${name} store: sockets "${item}" is not an absolute path`);
    }
  }
  checkPositive(store, 'store', positive, report);
  const concurrency = given.get('lmtp_user_concurrency_limit');
  if (typeof concurrency?.value === 'number' && concurrency.value < 0)
    report.error(concurrency.position, `${name} store: lmtp_user_concurrency_limit must not be less than 0`);
  checkLocks(store, report);
  for (const [needed, options] of dependent) {
    if (given.has(needed)) continue;
    for (const option of options) {
      const at = given.get(option)?.position;
      if (at !== undefined) report.error(at, `${name} store: ${option} needs ${needed}`);
    }
  }
  for (const option of ['lda_mailbox_autocreate', 'lda_mailbox_autosubscribe', 'hierarchy_separator']) {
    const at = given.get(option)?.position;
    if (at !== undefined && given.get('lmtp_save_to_detail_mailbox')?.value !== true)
      report.warning(
        at,
        `${name} store: ${option} does nothing without lmtp_save_to_detail_mailbox`,
        'no folder but the INBOX is chosen',
      );
  }
}

/** Numbers and times that mean nothing unless they are more than 0. */
export function checkPositive(
  { name, given }: CheckedInstance,
  kind: 'store' | 'directory',
  options: readonly string[],
  report: Report,
): void {
  for (const option of options) {
    const one = given.get(option);
    if (typeof one?.value === 'number' && one.value <= 0)
      report.error(one.position, `${name} ${kind}: ${option} must be more than 0`);
  }
}

function checkLocks(store: CheckedInstance, report: Report): void {
  const locks = store.given.get('mbox_write_locks')?.sources[0];
  if (locks === undefined) return;
  const kinds = splitList(locks.text);
  if (kinds.length > 0 && kinds.every((k) => ['dotlock', 'fcntl', 'flock'].includes(k))) return;
  report.error(
    locks.position,
    `${store.name} store: mbox_write_locks must name some of dotlock, fcntl and flock`,
  );
}
