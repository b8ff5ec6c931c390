/** The autoreply transport of a configuration (Exim manual, "The autoreply transport"). */
import type { TransportInstance } from '../../config/model.ts';
import { expandText } from '../../expand/expand.ts';
import { splitAddresses } from '../../expand/address-text.ts';
import { type Address, type Domain, formatAddress, isSyntaxError, parseAddress } from '../../mail/address.ts';
import { findHeader, headerBody } from '../../mail/headers.ts';
import type { QueueId } from '../../mail/message-id.ts';
import type { NewMessage, RecipientOutcome } from '../../mail/outcome.ts';
import { parseTimeInterval } from '../../mail/time-interval.ts';
import { logTime } from '../../observe/log-time.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { readStart } from '../../queue/edited-content.ts';
import { extractAddress } from '../../mail/extract-address.ts';
import type { Identity } from '../../transport/drivers/local/identity.ts';
import type { Job } from '../../transport/drivers/local/job.ts';
import { runAs } from '../../transport/drivers/local/run-as.ts';
import { systemSender } from '../../dsn/from.ts';
import { composeReply } from '../../transport/drivers/reply-message.ts';
import { expandOption, expandUntainted, putOff } from './expand-options.ts';
import { directories } from './generic.ts';
import { identityFor } from './local-user.ts';

export type AutoreplyInstance = Extract<TransportInstance, { driver: 'autoreply' }>;

export interface ReplySurroundings {
  readonly newId: () => QueueId;
  /** `bounce_return_size_limit` */
  readonly returnSizeLimitBytes: number;
  readonly nowMs: () => number;
  /** `never_users` */
  readonly neverUsers: readonly string[];
}

const maxFileOctets = 1024 * 1024;
const jobDeadlineMs = 60_000;

/** Makes the answer; the queue stores it together with the outcome. */
export async function deliverReply(
  t: AutoreplyInstance,
  delivery: DeliveryAtHand,
  around: ReplySurroundings,
  signal: AbortSignal,
): Promise<RecipientOutcome> {
  const o = t.options;
  const { scope } = await directories(t.name, o, delivery);
  const text = async (option: string | undefined, name: string): Promise<string | undefined> =>
    (await expandOption(option, `"${name}" in the ${t.name} transport`, scope))?.text;
  const to = await text(o.to, 'to');
  const cc = await text(o.cc, 'cc');
  const bcc = await text(o.bcc, 'bcc');
  const never = await text(o.never_mail, 'never_mail');
  const keep = (list: string | undefined): Promise<string | undefined> => withoutNever(list, never, scope);
  let [toLeft, ccLeft, bccLeft] = [await keep(to), await keep(cc), await keep(bcc)];
  const nowMs = around.nowMs();
  const needsFiles = (o.once ?? o.file ?? o.log ?? '') !== '';
  const identity = needsFiles
    ? await identityFor(t.name, o, delivery.batch.delivery?.user, scope, around.neverUsers)
    : undefined;
  const files = new Files(t.name, identity, signal);
  if (recipientsOf([toLeft, ccLeft, bccLeft], scope.main.qualifyRecipient).length === 0)
    return { kind: 'delivered' };
  toLeft = await notAnsweredYet(t, toLeft, delivery, scope, files, nowMs);
  if (toLeft === undefined && o.once !== undefined && to !== undefined) return { kind: 'delivered' };
  const recipients = recipientsOf([toLeft, ccLeft, bccLeft], scope.main.qualifyRecipient);
  const [first, ...rest] = recipients;
  if (first === undefined) return { kind: 'delivered' };

  const body = [
    (await text(o.text, 'text')) ?? '',
    await fileText(t, scope, files),
    o.return_message ? await returned(delivery, around.returnSizeLimitBytes, signal) : '',
  ]
    .filter((part) => part !== '')
    .map((part) => (part.endsWith('\n') ? part : `${part}\n`))
    .join('');
  const id = around.newId();
  const fields = scope.message?.headers?.() ?? [];
  const answered = findHeader(fields, 'message-id');
  const references = findHeader(fields, 'references') ?? findHeader(fields, 'in-reply-to');
  const from = await text(o.from, 'from');
  const subject = await text(o.subject, 'subject');
  const replyTo = await text(o.reply_to, 'reply_to');
  const more = await text(o.headers, 'headers');
  const content = composeReply({
    id,
    recipients: [first, ...rest],
    fields: {
      from: from ?? systemSender(scope.main),
      ...given('replyTo', replyTo),
      ...given('to', toLeft),
      ...given('cc', ccLeft),
      ...given('subject', subject),
      ...given('more', more),
    },
    ...given('inReplyTo', answered === undefined ? undefined : headerBody(answered).slice(0, 900)),
    ...given('references', references === undefined ? undefined : headerBody(references).slice(-900)),
    body,
    primaryHostname: scope.main.primaryHostname,
    nowMs,
  });
  if (content === undefined)
    throw putOff(`non-printing character in a header line of the message of ${t.name} transport`);
  if (o.log !== undefined)
    await logReply(
      t,
      [
        ['From', from],
        ['To', toLeft],
        ['Cc', ccLeft],
        ['Bcc', bccLeft],
        ['Subject', subject],
        ['', more],
      ],
      scope,
      files,
      nowMs,
    );
  const message: NewMessage = {
    id,
    recipients: [{ address: first }, ...rest.map((address) => ({ address }))],
    content,
    body: content.some((octet) => octet > 127) ? '8BITMIME' : '7BIT',
  };
  return { kind: 'delivered', generated: [message] };
}

/** Jobs on files, done as the delivery's user. */
class Files {
  readonly transport: string;
  readonly identity: Identity | undefined;
  readonly signal: AbortSignal;

  constructor(transport: string, identity: Identity | undefined, signal: AbortSignal) {
    this.transport = transport;
    this.identity = identity;
    this.signal = signal;
  }

  async run(job: Job): Promise<string> {
    if (this.identity === undefined) return '';
    const outcome = await runAs(this.identity, job, none(), {
      deadlineMs: jobDeadlineMs,
      signal: this.signal,
    });
    if (outcome.kind !== 'done') throw putOff(`${outcome.text} (${this.transport} transport)`);
    return outcome.text ?? '';
  }
}

async function* none(): AsyncGenerator<Buffer> {}

function given<K extends string>(name: K, value: string | undefined): Partial<Record<K, string>> {
  return value === undefined || value === '' ? {} : ({ [name]: value } as Record<K, string>);
}

function addressOf(item: string, qualifyDomain: string): Address | undefined {
  const found = extractAddress(item);
  if ('error' in found) return undefined;
  const address = parseAddress(found.address);
  if (isSyntaxError(address)) return undefined;
  return address.domain === '' ? { ...address, domain: qualifyDomain as Domain } : address;
}

/** Of header line texts, each address once; what is no address is left out, as `-t` does. */
function recipientsOf(lists: readonly (string | undefined)[], qualifyDomain: string): Address[] {
  const out = new Map<string, Address>();
  for (const list of lists)
    for (const item of splitAddresses(list ?? '')) {
      const address = addressOf(item, qualifyDomain);
      if (address !== undefined) out.set(formatAddress(address), address);
    }
  return [...out.values()];
}

/** The list without addresses that `never_mail` holds. */
async function withoutNever(
  list: string | undefined,
  never: string | undefined,
  scope: DeliveryAtHand['scope'],
): Promise<string | undefined> {
  if (list === undefined || never === undefined || never.trim() === '') return list;
  const kept: string[] = [];
  for (const item of splitAddresses(list)) {
    const address = addressOf(item, scope.main.qualifyRecipient);
    if (address === undefined) continue;
    const answer = await scope.services.matchList('address', never, formatAddress(address), scope);
    if (answer.kind === 'defer') throw putOff(`never_mail: ${answer.reason}`);
    if (answer.kind === 'no') kept.push(item.trim());
  }
  return kept.length === 0 ? undefined : kept.join(', ');
}

/** `once`: the recipients of To that were not answered lately; undefined for none. */
async function notAnsweredYet(
  t: AutoreplyInstance,
  to: string | undefined,
  delivery: DeliveryAtHand,
  scope: DeliveryAtHand['scope'],
  files: Files,
  nowMs: number,
): Promise<string | undefined> {
  const o = t.options;
  if (o.once === undefined || to === undefined) return to;
  const file = await expandUntainted(o.once, `"once" in the ${t.name} transport`, scope);
  if (file === '') return to;
  if (!file.startsWith('/'))
    throw putOff(`once file "${file}" of ${t.name} transport is not an absolute path`);
  const repeat = (await expandOption(o.once_repeat, `"once_repeat" in the ${t.name} transport`, scope))?.text;
  const repeatMs = repeat === undefined ? 0 : parseTimeInterval(repeat.trim());
  if (repeatMs === undefined) throw putOff(`Invalid time value for "once_repeat" in the ${t.name} transport`);
  const items = splitAddresses(to);
  const names = items.map((item) => {
    const address = addressOf(item, scope.main.qualifyRecipient);
    return address === undefined ? '' : formatAddress(address);
  });
  const answer = await files.run({
    kind: 'once',
    path: file,
    recipients: names.filter((name) => name !== ''),
    repeatMs,
    maxOctets: o.once_file_size,
    mode: o.mode,
    token: delivery.batch.id,
    nowMs,
  });
  const due = new Set(answer.split('\n'));
  const left = items.filter((_, i) => names[i] !== '' && due.has(names[i] ?? '')).map((item) => item.trim());
  return left.length === 0 ? undefined : left.join(', ');
}

async function fileText(t: AutoreplyInstance, scope: DeliveryAtHand['scope'], files: Files): Promise<string> {
  const o = t.options;
  if (o.file === undefined) return '';
  const file = await expandUntainted(o.file, `"file" in the ${t.name} transport`, scope);
  if (file === '') return '';
  if (!file.startsWith('/')) throw putOff(`file "${file}" of ${t.name} transport is not an absolute path`);
  const text = await files.run({
    kind: 'read',
    path: file,
    optional: o.file_optional,
    maxOctets: maxFileOctets,
  });
  if (!o.file_expand) return text;
  let out = '';
  for (const line of text.split(/(?<=\n)/)) {
    const expanded = await expandText(line, scope);
    if (expanded.kind !== 'ok') throw putOff(`failed to expand line from ${file} in ${t.name} transport`);
    out += expanded.text;
  }
  return out;
}

/** The original, cut at the bound. */
async function returned({ batch }: DeliveryAtHand, limit: number, signal: AbortSignal): Promise<string> {
  const { message } = batch;
  const most = limit > 0 ? Math.min(limit, message.size) : message.size;
  const octets = await readStart(message, Math.min(most, maxReturnedOctets), signal);
  const cut = octets.length < message.size;
  const rubric = cut
    ? `------ This is a copy of the message's beginning; all of it has ${message.size} octets.\n`
    : '------ This is a copy of the message, including all the headers.\n';
  return `\n${rubric}\n${octets.toString('latin1').replaceAll('\r\n', '\n')}`;
}

const maxReturnedOctets = 4 * 1024 * 1024;

/** The date, then a line for each thing there is, as Exim writes it. */
async function logReply(
  t: AutoreplyInstance,
  said: readonly (readonly [name: string, value: string | undefined])[],
  scope: DeliveryAtHand['scope'],
  files: Files,
  nowMs: number,
): Promise<void> {
  const o = t.options;
  const file = await expandUntainted(o.log ?? '', `"log" in the ${t.name} transport`, scope);
  if (file === '') return;
  if (!file.startsWith('/'))
    throw putOff(`log file "${file}" of ${t.name} transport is not an absolute path`);
  const lines = said.map(([name, value]) =>
    value === undefined ? '' : `  ${name === '' ? '' : `${name}: `}${value.replace(/\n$/, '')}\n`,
  );
  await files.run({
    kind: 'log',
    path: file,
    mode: o.mode,
    text: `${logTime(nowMs)}\n${lines.join('')}`,
  });
}
