/** Counts what lies in a Maildir and its folders, by the rules of Dovecot's quota plugin. */
import { closeSync, constants, fstatSync } from 'node:fs';
import { open, opendir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { failureCode } from '../drivers/maildir/failure.ts';
import type { Layout } from '../drivers/maildir/folder-path.ts';
import { openBelow, openRoot } from '../drivers/maildir/walk.ts';
import type { Owner } from '../drivers/maildir/walk.ts';
import { folderOfName, fromModifiedUtf7 } from './folder-names.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';

/** `new` or `cur` of one folder as it was counted. */
export interface CountedPart {
  /** Of the folder when counting began, nanoseconds. */
  readonly changedNs: bigint;
  readonly used: Amount;
  /** Nothing can have changed since without another time: the last change was some ticks of the system's clock ago. */
  readonly settled: boolean;
}

/** Of the times of files: some systems count no finer than that. */
const tickMs = 50;

export interface ScanOptions {
  readonly layout: Layout;
  /** Where the INBOX is a Maildir of its own, and not the one that has the folders. */
  readonly inbox?: string;
  /** See openRoot: as root no link of the user is followed. */
  readonly owner: Owner | undefined;
  /** `stored`: `S=` of the name or the file's size. `virtual`: `W=`, or counted with CRLF at the end of every line. */
  readonly counts: 'stored' | 'virtual';
  /** Folders whose mail does not count; undefined is the INBOX. */
  readonly ignored: (folder: string | undefined) => boolean;
  readonly signal: AbortSignal;
}

/**
 * Counts all parts of the Maildir that `rootFd` holds open, by their path below it (`cur`, `.Sub/new`). A part that has not
 * changed since it came into `known` is not read again. What vanishes meanwhile is passed over; other system errors and
 * aborts are thrown.
 */
export async function scanMaildir(
  rootFd: number,
  options: ScanOptions,
  known?: ReadonlyMap<string, CountedPart>,
): Promise<Map<string, CountedPart>> {
  const parts = new Map<string, CountedPart>();
  const visit = async (fd: number, place: string): Promise<void> => {
    for (const part of ['new', 'cur']) {
      const counted = await countPart(fd, part, options, known?.get(place + part));
      if (counted !== undefined) parts.set(place + part, counted);
    }
  };
  if (!options.ignored(undefined)) await visitInbox(rootFd, options, visit);
  await eachFolder(rootFd, options, '', '', async (fd, folder, place) => {
    if (!options.ignored(folder)) await visit(fd, `${place}/`);
  });
  return parts;
}

async function visitInbox(
  rootFd: number,
  { inbox, owner }: ScanOptions,
  visit: (fd: number, place: string) => Promise<void>,
): Promise<void> {
  if (inbox === undefined) {
    await visit(rootFd, '');
    return;
  }
  const fd = openOrPass(() => openRoot(inbox, owner));
  if (fd === undefined) return;
  try {
    await visit(fd, `${inbox}/`);
  } finally {
    closeSync(fd);
  }
}

export function total(parts: ReadonlyMap<string, CountedPart>): Amount {
  let used = nothing;
  for (const part of parts.values()) used = sum(used, part.used);
  return used;
}

/** True where there are the same parts and none has changed. */
export function sameParts(a: ReadonlyMap<string, CountedPart>, b: ReadonlyMap<string, CountedPart>): boolean {
  if (a.size !== b.size) return false;
  for (const [place, part] of a) {
    const other = b.get(place);
    if (other?.changedNs !== part.changedNs || other.used.bytes !== part.used.bytes) return false;
  }
  return true;
}

type Visit = (fd: number, folder: string, place: string) => Promise<void>;

async function eachFolder(
  fd: number,
  options: ScanOptions,
  above: string,
  place: string,
  visit: Visit,
): Promise<void> {
  const names: string[] = [];
  for await (const name of namesIn(fd, options.signal)) names.push(name);
  for (const name of names) {
    const folder =
      options.layout === 'fs'
        ? isPlainFolder(name)
          ? fromModifiedUtf7(name)
          : undefined
        : folderOfName(name);
    if (folder === undefined) continue;
    const next = openOrPass(() => openBelow(fd, name, options.owner));
    if (next === undefined) continue;
    const below = place === '' ? name : `${place}/${name}`;
    try {
      await visit(next, above + folder, below);
      if (options.layout === 'fs') await eachFolder(next, options, `${above}${folder}/`, below, visit);
    } finally {
      closeSync(next);
    }
  }
}

/** With `LAYOUT=fs` every folder is one that is not part of a Maildir. */
function isPlainFolder(name: string): boolean {
  return (
    !name.startsWith('.') && !/^(?:cur|new|tmp|dovecot.*|subscriptions|maildirsize|maildirfolder)$/.test(name)
  );
}

async function countPart(
  folderFd: number,
  part: string,
  options: ScanOptions,
  known: CountedPart | undefined,
): Promise<CountedPart | undefined> {
  const fd = openOrPass(() => openBelow(folderFd, part, options.owner));
  if (fd === undefined) return undefined;
  try {
    const changedNs = fstatSync(fd, { bigint: true }).mtimeNs;
    if (known?.settled === true && known.changedNs === changedNs) return known;
    const settled = BigInt(Date.now() - tickMs) * 1_000_000n > changedNs;
    let bytes = 0;
    let messages = 0;
    for await (const name of namesIn(fd, options.signal)) {
      // Dovecot passes over names that begin with two dots, not over those with one.
      if (name.startsWith('..')) continue;
      const size = sizeInName(name, options.counts) ?? (await sizeOfFile(fd, name, options));
      if (size === undefined) continue;
      bytes += size;
      messages++;
    }
    return { changedNs, used: { bytes, messages }, settled };
  } finally {
    closeSync(fd);
  }
}

/** `,S=123` or `,W=123` up to a comma, a colon or the end; the first counts, and nothing where it is malformed. */
export function sizeInName(name: string, counts: 'stored' | 'virtual'): number | undefined {
  const at = name.indexOf(counts === 'stored' ? ',S=' : ',W=');
  if (at < 0) return undefined;
  const m = /^[0-9]{0,15}(?=[:,]|$)/.exec(name.slice(at + 3));
  return m === null ? undefined : Number(m[0]);
}

async function sizeOfFile(fd: number, name: string, options: ScanOptions): Promise<number | undefined> {
  const path = Buffer.from(`/proc/self/fd/${fd}/${name}`, 'latin1');
  try {
    if (options.counts === 'stored') return (await stat(path)).size;
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      return (await file.stat()).isFile() ? await virtualSize(file, options.signal) : undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    // Gone, or a link that leads nowhere.
    if (failureCode(error) === 'ENOENT' || failureCode(error) === 'ELOOP') return undefined;
    throw error;
  }
}

const lf = 0x0a;
const cr = 0x0d;

async function virtualSize(file: FileHandle, signal: AbortSignal): Promise<number> {
  const buffer = Buffer.allocUnsafe(65_536);
  let size = 0;
  let last = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return size;
    const chunk = buffer.subarray(0, bytesRead);
    size += bytesRead;
    for (let at = chunk.indexOf(lf); at >= 0; at = chunk.indexOf(lf, at + 1))
      if ((at === 0 ? last : chunk[at - 1]) !== cr) size++;
    last = chunk[bytesRead - 1] ?? 0;
  }
}

async function* namesIn(fd: number, signal: AbortSignal): AsyncGenerator<string> {
  // Octets: a name need not be UTF-8.
  const folder = await opendir(`/proc/self/fd/${fd}`, {
    encoding: 'latin1' as BufferEncoding,
    bufferSize: 512,
  });
  for await (const entry of folder) {
    signal.throwIfAborted();
    yield entry.name;
  }
}

/** Undefined for what is not there any more, is no folder, or is somebody's link. */
function openOrPass(open: () => number): number | undefined {
  try {
    return open();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE'].includes(failureCode(error))) return undefined;
    throw error;
  }
}
