/** The appendfile transport of a configuration (Exim manual, "The appendfile transport"). */
import type { TransportInstance } from '../../config/model.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { localContent, type LocalFormat } from '../../transport/drivers/local/content.ts';
import type { Creation } from '../../transport/drivers/local/creation.ts';
import type { Job } from '../../transport/drivers/local/job.ts';
import type { JobOutcome } from '../../transport/drivers/local/outcome.ts';
import { runAs } from '../../transport/drivers/local/run-as.ts';
import type { Batch } from '../../transport/transport.ts';
import { expandOption, expandRequired, putOff } from './expand-options.ts';
import { directories } from './generic.ts';
import { identityFor } from './local-user.ts';

export type AppendfileInstance = Extract<TransportInstance, { driver: 'appendfile' }>;

export const defaultPrefix = 'From ${if def:return_path{$return_path}{MAILER-DAEMON}} ${tod_bsdinbox}\n';

/** Beyond what locks may take. */
const writeDeadlineMs = 600_000;

export interface FileSurroundings {
  readonly primaryHostname: string;
  readonly neverUsers: readonly string[];
}

/** Delivers one copy for all of the batch. */
export async function deliverToFile(
  t: AppendfileInstance,
  delivery: DeliveryAtHand,
  around: FileSurroundings,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const o = t.options;
  const hostname = around.primaryHostname;
  const { batch } = delivery;
  const { home, scope } = await directories(t.name, o, delivery);
  const identity = await identityFor(t.name, o, batch.delivery?.user, scope, around.neverUsers);
  const place = await placeOf(t, batch, scope);
  const creation: Creation = {
    createDirectory: o.create_directory,
    directoryMode: o.directory_mode,
    createFile: o.create_file,
    ...(home === undefined ? {} : { home }),
  };
  const format = await formatFor(t, place.kind, scope);
  let job: Job;
  if (place.kind === 'directory') {
    const size = o.maildir_tag === undefined ? 0 : await lengthOf(batch, format, signal);
    const sized = {
      ...scope,
      ...(scope.message === undefined ? {} : { message: { ...scope.message, size } }),
    };
    const tag = (await expandOption(o.maildir_tag, `maildir_tag for ${t.name} transport`, sized))?.text ?? '';
    job = {
      ...creation,
      kind: 'maildir',
      directory: place.path,
      mode: o.mode,
      retries: o.maildir_retries,
      tag: tagText(tag),
      hostname,
    };
  } else
    job = {
      ...creation,
      kind: 'mailbox',
      path: place.path,
      mode: o.mode,
      modeFailNarrower: o.mode_fail_narrower,
      fileMustExist: o.file_must_exist,
      checkOwner: o.check_owner,
      checkGroup: o.check_group,
      allowSymlink: o.allow_symlink,
      allowFifo: o.allow_fifo,
      useLockFile: o.use_lockfile,
      useFcntl: o.use_fcntl_lock,
      useFlock: o.use_flock_lock,
      lockRetries: o.lock_retries,
      lockIntervalMs: o.lock_interval,
      lockFileMode: o.lockfile_mode,
      lockFileTimeoutMs: o.lockfile_timeout,
      hostname,
    };
  return runAs(identity, job, localContent(batch.message, format, signal), {
    deadlineMs: writeDeadlineMs + 2 * (o.lock_retries + 1) * o.lock_interval,
    signal,
  });
}

interface Place {
  readonly kind: 'file' | 'directory';
  readonly path: string;
}

async function placeOf(t: AppendfileInstance, batch: Batch, scope: DeliveryAtHand['scope']): Promise<Place> {
  const o = t.options;
  const target = batch.delivery?.target;
  const what = `file or directory name for ${t.name} transport`;
  let place: Place;
  let tainted = false;
  // The transport's own option goes before what a redirection names, which it may look at as $address_file.
  const option = o.file ?? o.directory;
  if (option !== undefined) {
    const expanded = await expandRequired(option, what, scope);
    place = { kind: o.file === undefined ? 'directory' : 'file', path: expanded.text };
    ({ tainted } = expanded);
  } else if (target !== undefined && target.kind !== 'pipe') place = { kind: target.kind, path: target.text };
  else throw putOff(`Mandatory file or directory option missing from ${t.name} transport`);
  if (tainted && !o.create_file.startsWith('/'))
    throw putOff(`Tainted '${place.path}' (${what}) not permitted`);
  if (!place.path.startsWith('/'))
    throw putOff(`appendfile: file or directory name "${place.path}" is not absolute`);
  if (/[\0\n]/.test(place.path)) throw putOff(`appendfile: "${place.path}" is no file name`);
  if (place.kind === 'directory' && !o.maildir_format)
    throw putOff(`"${place.path}" is a directory, and maildir_format is not set for ${t.name} transport`);
  return place;
}

async function formatFor(
  t: AppendfileInstance,
  kind: Place['kind'],
  scope: DeliveryAtHand['scope'],
): Promise<LocalFormat> {
  const o = t.options;
  const file = kind === 'file';
  const prefix = o.message_prefix ?? (file ? defaultPrefix : undefined);
  const suffix = o.message_suffix ?? (file ? '\n' : undefined);
  const check = o.check_string ?? (file ? 'From ' : undefined);
  const escape = o.escape_string ?? (file ? '>From ' : undefined);
  const text = async (value: string | undefined, what: string): Promise<string> =>
    (await expandOption(value, `message_${what} for ${t.name} transport`, scope))?.text ?? '';
  return {
    prefix: await text(prefix, 'prefix'),
    suffix: await text(suffix, 'suffix'),
    ...(check === undefined || check === '' || escape === undefined
      ? {}
      : { checkString: check, escapeString: escape }),
    bodyOnly: o.body_only,
    useCrlf: o.use_crlf,
  };
}

async function lengthOf(batch: Batch, format: LocalFormat, signal: AbortSignal): Promise<number> {
  let length = 0;
  for await (const part of localContent(batch.message, format, signal)) length += part.length;
  return length;
}

/** A tag is what may stand in a file name, and begins with a sign (Exim manual, `maildir_tag`). */
function tagText(tag: string): string {
  const clean = tag.replace(/[^\x21-\x7e]|\//g, '');
  return clean === '' || /^[^A-Za-z0-9]/.test(clean) ? clean : `:${clean}`;
}
