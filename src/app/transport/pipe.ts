/** The pipe transport of a configuration (Exim manual, "The pipe transport"). */
import type { TransportInstance } from '../../config/model.ts';
import { commandWords } from '../../expand/command-words.ts';
import { formatAddress } from '../../mail/address.ts';
import { splitList } from '../../mail/list-text.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { localContent } from '../../transport/drivers/local/content.ts';
import { type PipeCommand, type PipeResult, runPipe } from '../../transport/drivers/pipe.ts';
import type { Batch } from '../../transport/transport.ts';
import { defaultPrefix } from './appendfile.ts';
import { expandOption, expandRequired, expandUntainted, putOff, refuse } from './expand-options.ts';
import { directories } from './generic.ts';
import { identityFor } from './local-user.ts';

export type PipeInstance = Extract<TransportInstance, { driver: 'pipe' }>;

/** Runs the command once for all of the batch. */
export async function deliverToPipe(
  t: PipeInstance,
  delivery: DeliveryAtHand,
  around: { readonly qualifyDomain: string; readonly neverUsers: readonly string[] },
  signal: AbortSignal,
): Promise<PipeResult> {
  const o = t.options;
  const { batch } = delivery;
  const { home, currentDirectory, scope } = await directories(t.name, o, delivery);
  const identity = await identityFor(t.name, o, batch.delivery?.user, scope, around.neverUsers);
  const path = await expandUntainted(o.path, `path for ${t.name} transport`, scope);
  const direct = directCommand(batch);
  const argv = await commandOf(t, { ...delivery, scope });
  const text = async (value: string, what: string): Promise<string> =>
    (await expandOption(value, `message_${what} of ${t.name} transport`, scope))?.text ?? '';
  const command: PipeCommand = {
    transport: t.name,
    text: direct !== undefined && !o.force_command ? direct : (o.command ?? ''),
    argv,
    path,
    environment: await environmentOf(t, { ...delivery, scope }, home, around.qualifyDomain),
    identity,
    currentDirectory: currentDirectory ?? home ?? '/',
    umask: o.umask,
    timeoutMs: o.timeout,
    timeoutDefer: o.timeout_defer,
    maxOutput: o.max_output,
    ignoreStatus: o.ignore_status,
    tempErrors: o.temp_errors.length === 1 && o.temp_errors[0] === '*' ? '*' : o.temp_errors.map(Number),
    freezeExecFail: o.freeze_exec_fail,
    freezeSignal: o.freeze_signal,
  };
  const format = {
    prefix: await text(o.message_prefix ?? defaultPrefix, 'prefix'),
    suffix: await text(o.message_suffix ?? '\n', 'suffix'),
    ...(o.check_string === undefined || o.escape_string === undefined
      ? {}
      : { checkString: o.check_string, escapeString: o.escape_string }),
    bodyOnly: o.body_only,
    useCrlf: o.use_crlf,
  };
  return runPipe(command, localContent(batch.message, format, signal), signal);
}

/** The command that an address was redirected to. */
function directCommand(batch: Batch): string | undefined {
  const target = batch.delivery?.target;
  return target?.kind === 'pipe' ? target.text.replace(/^\|\s*/, '') : undefined;
}

async function commandOf(t: PipeInstance, delivery: DeliveryAtHand): Promise<[string, ...string[]]> {
  const o = t.options;
  const { batch, scope } = delivery;
  const direct = directCommand(batch);
  if (direct !== undefined && !o.force_command) {
    // From a list of addresses: not expanded.
    if (o.use_shell) return ['/bin/sh', '-c', direct];
    return permitted(t, commandWords(direct), scope);
  }
  if (o.command === undefined) throw putOff(`Command not specified for ${t.name} transport`);
  if (o.use_shell)
    return ['/bin/sh', '-c', await expandUntainted(o.command, `command for ${t.name} transport`, scope)];
  const words: string[] = [];
  for (const word of commandWords(o.command)) {
    if (word === '$pipe_addresses') words.push(...batch.recipients.map((r) => formatAddress(r.address)));
    else if (word === '$address_pipe' && direct !== undefined) words.push(...commandWords(direct));
    else {
      const what = `"${word}" from command "${o.command}" in ${t.name} transport`;
      const { text, tainted } = await expandRequired(word, what, scope);
      if (tainted) throw putOff(`Tainted arg '${text}' for ${t.name} transport command: '${o.command}'`);
      words.push(text);
    }
  }
  return permitted(t, words, scope);
}

/** `allow_commands` and `restrict_to_path`. */
async function permitted(
  t: PipeInstance,
  words: readonly string[],
  scope: DeliveryAtHand['scope'],
): Promise<[string, ...string[]]> {
  const o = t.options;
  const [program, ...rest] = words;
  if (program === undefined || program === '') throw putOff(`Command not specified for ${t.name} transport`);
  if (o.allow_commands !== undefined || o.restrict_to_path) {
    const list =
      (await expandOption(o.allow_commands, `allow_commands for ${t.name} transport`, scope))?.text ?? '';
    const listed = splitList(list).includes(program);
    if (!listed && !(o.restrict_to_path && !program.includes('/')))
      throw refuse(
        o.restrict_to_path
          ? `"/" found in "${program}" (command for ${t.name} transport) - failed for security reasons`
          : `"${program}" command not permitted by ${t.name} transport`,
      );
  }
  return [program, ...rest];
}

async function environmentOf(
  t: PipeInstance,
  delivery: DeliveryAtHand,
  home: string | undefined,
  qualifyDomain: string,
): Promise<Record<string, string>> {
  const { batch, claim, scope } = delivery;
  const { address } = scope;
  const [recipient] = batch.recipients;
  const [host] = batch.hosts;
  const environment: Record<string, string> = {
    DOMAIN: address.domain,
    LOCAL_PART: address.local,
    LOCAL_PART_PREFIX: address.prefix ?? '',
    LOCAL_PART_SUFFIX: address.suffix ?? '',
    LOGNAME: address.local,
    USER: address.local,
    MESSAGE_ID: batch.id,
    QUALIFY_DOMAIN: qualifyDomain,
    RECIPIENT: recipient === undefined ? '' : formatAddress(recipient.address),
    SENDER: formatAddress(claim.entry.envelope.sender),
    SHELL: '/bin/sh',
    ...(home === undefined ? {} : { HOME: home }),
    ...(host === undefined ? {} : { HOST: host.name }),
  };
  const more = await expandOption(t.options.environment, `environment for ${t.name} transport`, scope);
  for (const item of splitList(more?.text ?? '')) {
    const at = item.indexOf('=');
    if (at > 0) environment[item.slice(0, at)] = item.slice(at + 1);
  }
  // Node hands texts over in UTF-8; the octets come through where they are UTF-8.
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [
      name,
      Buffer.from(value.replaceAll('\0', ''), 'latin1').toString('utf8'),
    ]),
  );
}
