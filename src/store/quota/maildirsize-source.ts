/** Usage by the `maildirsize` file, shared octet for octet with Dovecot's `quota = maildir`. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { MailUser } from '../../mail/mail-user.ts';
import { failureCode } from '../drivers/maildir/failure.ts';
import type { Layout } from '../drivers/maildir/folder-path.ts';
import { uniqueBase } from '../drivers/maildir/names.ts';
import { below, inherited, openBelow, openRoot } from '../drivers/maildir/walk.ts';
import type { Owner } from '../drivers/maildir/walk.ts';
import {
  formatChange,
  formatMaildirsize,
  isDoubtful,
  maxMaildirsizeOctets,
  parseMaildirsize,
} from './maildirsize.ts';
import type { MaildirsizeText } from './maildirsize.ts';
import { openRoots } from './roots.ts';
import { limitsOf } from './rules.ts';
import { sameParts, scanMaildir, total } from './scan.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';
import type { Figures, UsageSource } from './usage.ts';

export interface MaildirPlace {
  /** Absolute path, as Node writes it. */
  readonly path: string;
  readonly layout: Layout;
  /** Where the INBOX is a Maildir of its own. */
  readonly inbox?: string;
}

export interface MaildirUsageOptions {
  /** Throws where a user has no Maildir. */
  readonly locate: (user: MailUser) => MaildirPlace;
  /** Who owns the files of a user, where the process changes owners. */
  readonly ownerOf: (user: MailUser) => Owner | undefined;
  /** Limit for one counting. Default 60 s. */
  readonly countTimeoutMs?: number;
  readonly nowMs?: () => number;
}

/** The file as it was read, and what it said. */
interface ReadFile {
  readonly inode: number;
  readonly device: number;
  readonly octets: number;
  /** Both times, since a file that takes another's place may get its inode. */
  readonly changedMs: number;
  readonly renamedMs: number;
  readonly text: MaildirsizeText;
}

const fileName = 'maildirsize';
const maxUsers = 1024;
/** A Maildir that changes while it is counted is counted so often, then the figures are used and not kept. */
const maxCounts = 3;

export function maildirsizeSource(options: MaildirUsageOptions): UsageSource {
  const { nowMs = Date.now, countTimeoutMs = 60_000 } = options;
  const roots = openRoots<{ read?: ReadFile }>(maxUsers);

  /** The file's figures; undefined where it is missing or must be written anew. */
  function readFigures(
    rootFd: number,
    owner: Owner | undefined,
    cache: { read?: ReadFile },
  ): ReadFile | undefined {
    const path = below(rootFd, fileName);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    const { read } = cache;
    if (read !== undefined && isSame(read, found)) return read;
    delete cache.read;
    const fd = openFile(rootFd, constants.O_RDONLY, owner);
    if (fd === undefined) return undefined;
    try {
      const buffer = Buffer.allocUnsafe(maxMaildirsizeOctets);
      const octets = readSync(fd, buffer, 0, buffer.length, 0);
      const text = parseMaildirsize(buffer.toString('latin1', 0, octets));
      if (text === undefined) return undefined;
      return (cache.read = asRead(fstatSync(fd), octets, text));
    } finally {
      closeSync(fd);
    }
  }

  return {
    counts: 'stored',
    countsMessages: true,
    keeps: true,
    key: (user) => options.locate(user).path,
    kept(user, rules) {
      const owner = options.ownerOf(user);
      const root = roots.take(options.locate(user).path, owner);
      // Nobody has mail where there is no Maildir yet; the delivery makes it.
      if (root === undefined) return { used: nothing, limits: rules.limits };
      const read = readFigures(root.fd, owner, root.value);
      if (read === undefined) return undefined;
      const limits = rules.forced ? rules.limits : limitsInFile(read.text, options.locate(user).path);
      if (read.text.limits?.bytes !== limits.bytes || read.text.limits.messages !== limits.messages)
        return undefined;
      return isDoubtful(read.text, limits, nowMs() - read.changedMs)
        ? undefined
        : { used: read.text.used, limits };
    },
    async count(user, rules, signal): Promise<Figures> {
      const owner = options.ownerOf(user);
      const { path, layout, inbox } = options.locate(user);
      // A descriptor of its own: the kept ones may be closed meanwhile.
      const rootFd = openMissing(() => openRoot(path, owner));
      if (rootFd === undefined) return { used: nothing, limits: rules.limits };
      try {
        const limits = rules.forced ? rules.limits : (limitsKept(rootFd, owner, path) ?? rules.limits);
        const scan = {
          layout,
          ...(inbox === undefined ? {} : { inbox }),
          owner,
          counts: 'stored',
          ignored: (folder: string | undefined) => limitsOf(rules, rules.limits, folder).ignored,
          signal: AbortSignal.any([signal, AbortSignal.timeout(countTimeoutMs)]),
        } as const;
        let parts = await scanMaildir(rootFd, scan);
        for (let counts = 1; ; counts++) {
          const again = await scanMaildir(rootFd, scan, parts);
          if (sameParts(parts, again)) {
            writeFigures(rootFd, limits, total(parts), owner);
            break;
          }
          parts = again;
          if (counts < maxCounts) continue;
          // As Dovecot does it: whoever asks next counts.
          if (rules.forced) removeFigures(rootFd);
          break;
        }
        return { used: total(parts), limits };
      } finally {
        closeSync(rootFd);
      }
    },
    add(user, stored) {
      const owner = options.ownerOf(user);
      const root = roots.take(options.locate(user).path, owner);
      if (root === undefined) return;
      try {
        append(root.fd, owner, stored, root.value);
      } catch (error) {
        // The message is there and not counted: the figures must not be believed.
        delete root.value.read;
        removeFigures(root.fd);
        throw error;
      }
    },
    close: () => roots.close(),
  };
}

function asRead(found: Stats, octets: number, text: MaildirsizeText): ReadFile {
  return {
    inode: found.ino,
    device: found.dev,
    octets,
    changedMs: found.mtimeMs,
    renamedMs: found.ctimeMs,
    text,
  };
}

function isSame(read: ReadFile, found: Stats): boolean {
  return (
    read.inode === found.ino &&
    read.device === found.dev &&
    read.octets === found.size &&
    read.octets < maxMaildirsizeOctets &&
    read.changedMs === found.mtimeMs &&
    read.renamedMs === found.ctimeMs
  );
}

/** One write at the end of the file, as Maildir++ asks. Where there is no file whoever asks next counts. */
function append(rootFd: number, owner: Owner | undefined, stored: Amount, cache: { read?: ReadFile }): void {
  const { read } = cache;
  delete cache.read;
  const fd = openFile(rootFd, constants.O_WRONLY | constants.O_APPEND, owner);
  if (fd === undefined) return;
  try {
    const line = formatChange(stored);
    if (writeSync(fd, line) !== line.length) throw new Error(`${fileName}: short write`);
    if (read === undefined) return;
    const now = fstatSync(fd);
    const octets = read.octets + line.length;
    if (now.ino !== read.inode || now.dev !== read.device || now.size !== octets) return;
    const { limits, used, lines } = read.text;
    cache.read = asRead(now, octets, { limits, used: sum(used, stored), lines: lines + 1 });
  } finally {
    closeSync(fd);
  }
}

/** Undefined where there is none. As root the file must be the user's own and have no other name, or he could have others' files written. */
function openFile(rootFd: number, flags: number, owner: Owner | undefined): number | undefined {
  const fd = openMissing(() =>
    openSync(below(rootFd, fileName), flags | constants.O_NOFOLLOW | constants.O_NONBLOCK),
  );
  if (fd === undefined) return undefined;
  const fault = faultOf(fstatSync(fd), owner);
  if (fault === undefined) return fd;
  closeSync(fd);
  throw new Error(`${fileName} ${fault}`);
}

function faultOf(found: Stats, owner: Owner | undefined): string | undefined {
  if (!found.isFile()) return 'is not a file';
  if (owner === undefined) return undefined;
  if (found.uid !== owner.uid) return `belongs to uid ${found.uid}, not ${owner.uid}`;
  return found.nlink > 1 ? 'has other names' : undefined;
}

/** Limits that an administrator keeps in the file, where no rule `*` sets them. */
function limitsInFile({ limits }: MaildirsizeText, maildir: string): Amount {
  if (limits === undefined)
    throw new Error(`${maildir}/${fileName}: the limits in its first line cannot be read`);
  return limits;
}

function limitsKept(rootFd: number, owner: Owner | undefined, maildir: string): Amount | undefined {
  const fd = openFile(rootFd, constants.O_RDONLY, owner);
  if (fd === undefined) return undefined;
  try {
    const buffer = Buffer.allocUnsafe(200);
    const head = buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0));
    if (head === '') return undefined;
    return limitsInFile(
      { limits: parseMaildirsize(`${head.split('\n')[0]}\n`)?.limits, used: nothing, lines: 0 },
      maildir,
    );
  } finally {
    closeSync(fd);
  }
}

/** Written in tmp/, where what a crash leaves is cleaned away, and put in place by its name. */
function writeFigures(rootFd: number, limits: Amount, used: Amount, owner: Owner | undefined): void {
  const made = inherited(fstatSync(rootFd), owner);
  const tmpFd = openBelow(rootFd, 'tmp', owner);
  try {
    const path = below(tmpFd, `${uniqueBase()}.${fileName}`);
    const fd = openSync(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      if (made.owner !== undefined) fchownSync(fd, made.owner.uid, made.owner.gid);
      fchmodSync(fd, made.fileMode);
      const text = formatMaildirsize(limits, used);
      if (writeSync(fd, text) !== text.length) throw new Error(`${fileName}: short write`);
      renameSync(path, below(rootFd, fileName));
    } catch (error) {
      unlinkSync(path);
      throw error;
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(tmpFd);
  }
}

function removeFigures(rootFd: number): void {
  try {
    unlinkSync(below(rootFd, fileName));
  } catch (error) {
    if (failureCode(error) !== 'ENOENT') throw error;
  }
}

function openMissing(open: () => number): number | undefined {
  try {
    return open();
  } catch (error) {
    if (failureCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
