// A new file system for each comparison: ext4 as mkfs makes it, in an image. So the figures are those of a journal, as
// administrators have it, and do not depend on what was written or removed before.
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';

const programs = ['/sbin/losetup', '/sbin/mkfs.ext4', '/bin/mount', '/bin/umount'] as const;

/** Whether one can be made here: as root, with loop devices. */
export function canMakeFileSystem(): boolean {
  return process.getuid?.() === 0 && existsSync('/dev/loop-control') && programs.every((p) => existsSync(p));
}

/** Makes one in an image in `folder` and mounts it there. `unmount` before the folder is removed. */
export function makeFileSystem(
  folder: string,
  mebibytes: number,
): { readonly path: string; unmount(): void } {
  const image = path.join(folder, 'image');
  const mounted = path.join(folder, 'disk');
  writeZeros(image, mebibytes);
  mkdirSync(mounted);
  const run = (program: (typeof programs)[number], ...words: string[]): string =>
    execFileSync(program, words, { encoding: 'latin1' }).trim();
  // Its pages are not kept twice, and a flush of it is one of the disk below.
  const device = run('/sbin/losetup', '--direct-io=on', '--find', '--show', image);
  try {
    run('/sbin/mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device);
    run('/bin/mount', device, mounted);
  } finally {
    // It lasts while it is mounted.
    run('/sbin/losetup', '--detach', device);
  }
  chmodSync(mounted, 0o755);
  return { path: mounted, unmount: () => void run('/bin/umount', mounted) };
}

/** Written out, so that the file system below has nothing left to allocate. */
function writeZeros(file: string, mebibytes: number): void {
  const descriptor = openSync(file, 'wx', 0o600);
  const zeros = Buffer.alloc(1 << 20);
  try {
    for (let i = 0; i < mebibytes; i++) writeSync(descriptor, zeros);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
