/** Generic options of transports that change what is handed over (Exim manual, "Generic options for transports"). */
import type { ConfigModel } from '../../config/model.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { formatAddress, formatPath, type Address, isSyntaxError, parseAddress } from '../../mail/address.ts';
import { type HeaderEdit, parseHeaderFields } from '../../mail/headers.ts';
import { splitList } from '../../mail/list-text.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { formatDate } from '../../mail/received.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { editContent, readStart } from '../../queue/edited-content.ts';
import { rewriteHeader } from '../../rewrite/header.ts';
import type { RewriteRule } from '../../rewrite/rules.ts';
import type { Batch } from '../../transport/transport.ts';
import { expandOption, expandRequired, putOff, refuse } from './expand-options.ts';

export type GenericOptions = Pick<
  ConfigModel['transports'][number]['options'],
  | 'body_only'
  | 'delivery_date_add'
  | 'envelope_to_add'
  | 'headers_add'
  | 'headers_only'
  | 'headers_remove'
  | 'message_size_limit'
  | 'rcpt_include_affixes'
  | 'return_path'
  | 'return_path_add'
  | 'transport_filter'
  | 'transport_filter_timeout'
>;

/** Is there anything for {@link applyGeneric} to do? */
export function changesAnything(o: GenericOptions, rewriting: readonly RewriteRule[]): boolean {
  return (
    rewriting.length > 0 ||
    o.body_only ||
    o.delivery_date_add ||
    o.envelope_to_add ||
    o.headers_add !== undefined ||
    o.headers_only ||
    o.headers_remove !== undefined ||
    o.message_size_limit !== undefined ||
    o.rcpt_include_affixes ||
    o.return_path !== undefined ||
    o.return_path_add ||
    o.transport_filter !== undefined
  );
}

/** Does it change what is said in MAIL or RCPT? */
export function changesEnvelope(o: GenericOptions): boolean {
  return o.return_path !== undefined || o.rcpt_include_affixes;
}

/** The batch as the transport is to send it, and the scope with its `$return_path`. Throws a DeliveryStop. */
export async function applyGeneric(
  transport: string,
  o: GenericOptions,
  rewriting: readonly RewriteRule[],
  delivery: DeliveryAtHand,
  signal: AbortSignal,
): Promise<{ readonly batch: Batch; readonly scope: DeliveryAtHand['scope'] }> {
  let { batch, scope } = delivery;
  await checkSize(o.message_size_limit, batch.message.size, scope);
  if (o.return_path !== undefined) {
    const sender = await returnPath(o.return_path, scope);
    if (sender !== undefined) {
      batch = { ...batch, sender };
      scope = { ...scope, address: { ...scope.address, returnPath: sender } };
    }
  }
  if (o.rcpt_include_affixes)
    batch = {
      ...batch,
      recipients: batch.recipients.map((r, i) => ({ ...r, address: withAffixes(delivery, i, r.address) })),
    };
  const message = await editedMessage(transport, o, rewriting, { ...delivery, batch, scope }, signal);
  return { batch: { ...batch, message }, scope };
}

async function checkSize(option: string | undefined, size: number, scope: ExpandScope): Promise<void> {
  const text = (await expandOption(option, 'message_size_limit', scope))?.text;
  if (text === undefined) return;
  const found = /^\s*(\d+)\s*([KMG]?)\s*$/i.exec(text);
  if (found === null) throw putOff(`malformed message_size_limit "${text}"`);
  const limit = Number(found[1]) * (units.get((found[2] ?? '').toUpperCase()) ?? 1);
  if (limit > 0 && size > limit)
    throw refuse(`message is too big (transport limit = ${text.trim()})`, '5.2.3');
}

const units: ReadonlyMap<string, number> = new Map([
  ['K', 1024],
  ['M', 1024 ** 2],
  ['G', 1024 ** 3],
]);

/** Undefined: forced to fail, and the path stays. */
async function returnPath(option: string, scope: ExpandScope): Promise<Address | null | undefined> {
  const text = (await expandOption(option, 'return_path', scope))?.text.trim();
  if (text === undefined) return undefined;
  if (text === '' || text === '<>') return null;
  const address = parseAddress(text.replace(/^<(.*)>$/s, '$1'));
  if (isSyntaxError(address)) throw putOff(`return_path "${text}": ${address.text}`);
  return address;
}

function withAffixes({ members }: DeliveryAtHand, position: number, address: Address): Address {
  const facts = members[position]?.routed.facts;
  const local = `${facts?.prefix ?? ''}${address.local}${facts?.suffix ?? ''}`;
  return { ...address, local: local as Address['local'] };
}

/** Header lines first, since the body stays where it is. */
async function editedMessage(
  transport: string,
  o: GenericOptions,
  rewriting: readonly RewriteRule[],
  delivery: DeliveryAtHand,
  signal: AbortSignal,
): Promise<MessageSource> {
  const { batch, claim, members, scope } = delivery;
  const { entry, content } = claim;
  const top = topLines(o, delivery);
  if (rewriting.length === 0 && o.headers_add === undefined && o.headers_remove === undefined) {
    const headerSize = entry.headerSize + batch.message.size - content.size;
    const whole = await editContent(batch.message, headerSize, top, signal);
    return onlyPart(o, whole, headerSize + whole.size - batch.message.size);
  }
  const received = await editContent(content, entry.headerSize, entry.headerEdits, signal);
  const headerSize = entry.headerSize + received.size - content.size;
  const section = (await readStart(received, headerSize, signal)).toString('latin1');
  const routers = members[0].routed.headerEdits;
  const edits: HeaderEdit[] = [
    ...(await rewritten(section, rewriting, delivery)),
    ...routers.filter((e) => e.kind === 'remove'),
    ...(await removals(o.headers_remove, transport, scope)),
    ...routers.filter((e) => e.kind !== 'remove'),
    ...(await additions(o.headers_add, transport, scope)),
    ...top,
  ];
  const whole = await editContent(received, headerSize, edits, signal);
  return onlyPart(o, whole, headerSize + whole.size - received.size);
}

/** What stands above the received lines; of several edits at the top the last one comes first. */
function topLines(o: GenericOptions, { batch, members }: DeliveryAtHand): readonly HeaderEdit[] {
  const top = (text: string): HeaderEdit => ({ kind: 'add', where: 'top', text });
  const edits: HeaderEdit[] = [];
  if (o.delivery_date_add) edits.push(top(`Delivery-date: ${formatDate(Date.now())}\r\n`));
  if (o.envelope_to_add) {
    const originals = new Set(members.map((m) => formatAddress(m.recipient.address)));
    edits.push(top(`Envelope-to: ${[...originals].join(',\r\n ')}\r\n`));
  }
  if (o.return_path_add) edits.push(top(`Return-path: ${formatPath(batch.sender)}\r\n`));
  return edits;
}

async function rewritten(
  section: string,
  rules: readonly RewriteRule[],
  delivery: DeliveryAtHand,
): Promise<readonly HeaderEdit[]> {
  if (rules.length === 0) return [];
  const edits: HeaderEdit[] = [];
  for (const [at, field] of parseHeaderFields(section).entries()) {
    const made = await rewriteHeader(field, {
      rules,
      scope: delivery.scope,
      problem: (text) => delivery.problem(text),
    });
    if (made !== undefined) edits.push({ kind: 'replace', at, text: made.raw });
  }
  return edits;
}

async function removals(
  lists: readonly string[] | undefined,
  transport: string,
  scope: ExpandScope,
): Promise<readonly HeaderEdit[]> {
  const edits: HeaderEdit[] = [];
  for (const list of lists ?? []) {
    const text = (await expandOption(list, `headers_remove in ${transport} transport`, scope))?.text ?? '';
    for (const name of splitList(text)) if (name !== '') edits.push({ kind: 'remove', name });
  }
  return edits;
}

async function additions(
  lists: readonly string[] | undefined,
  transport: string,
  scope: ExpandScope,
): Promise<readonly HeaderEdit[]> {
  const edits: HeaderEdit[] = [];
  for (const list of lists ?? [])
    for (const item of splitList(/^\s*<[^\w\s]/.test(list) ? list : `<\n${list}`)) {
      const text = (await expandOption(item, `headers_add in ${transport} transport`, scope))?.text ?? '';
      if (text !== '')
        edits.push({
          kind: 'add',
          where: 'bottom',
          text: `${text.replace(/\r?\n$/, '').replace(/\r?\n/g, '\r\n')}\r\n`,
        });
    }
  return edits;
}

/** `headers_only` and `body_only`. */
function onlyPart(o: GenericOptions, whole: MessageSource, headerSize: number): MessageSource {
  if (o.body_only) return slice(whole, headerSize, whole.size);
  return o.headers_only ? slice(whole, 0, headerSize) : whole;
}

function slice(source: MessageSource, from: number, to: number): MessageSource {
  return {
    size: to - from,
    open: async function* (signal): AsyncGenerator<Uint8Array> {
      let at = 0;
      for await (const chunk of source.open(signal)) {
        const part = chunk.subarray(Math.max(0, from - at), Math.max(0, to - at));
        at += chunk.length;
        if (part.length > 0) yield part;
        if (at >= to) return;
      }
    },
  };
}

/** `home_directory` and `current_directory`, where the transport does not say what the router says. */
export async function directories(
  transport: string,
  o: Pick<ConfigModel['transports'][number]['options'], 'home_directory' | 'current_directory'>,
  delivery: DeliveryAtHand,
): Promise<{
  readonly home?: string;
  readonly currentDirectory?: string;
  readonly scope: DeliveryAtHand['scope'];
}> {
  const { batch, scope } = delivery;
  const home =
    o.home_directory === undefined
      ? batch.delivery?.home
      : (await expandRequired(o.home_directory, `home directory for ${transport} transport`, scope)).text;
  const extra = new Map(scope.extra);
  if (home !== undefined) extra.set('home', { text: home, tainted: false });
  const target = batch.delivery?.target;
  if (target !== undefined)
    extra.set(target.kind === 'pipe' ? 'address_pipe' : 'address_file', {
      text: target.kind === 'pipe' ? target.text.slice(1).trimStart() : target.text,
      tainted: false,
    });
  const own = { ...scope, extra };
  const current =
    o.current_directory === undefined
      ? batch.delivery?.currentDirectory
      : (await expandRequired(o.current_directory, `current directory for ${transport} transport`, own)).text;
  for (const [name, value] of [
    ['home', home],
    ['current', current],
  ] as const)
    if (value !== undefined && !value.startsWith('/'))
      throw putOff(`${name} directory "${value}" is not an absolute path for ${transport} transport`);
  return {
    ...(home === undefined ? {} : { home }),
    ...(current === undefined ? {} : { currentDirectory: current }),
    scope: own,
  };
}
