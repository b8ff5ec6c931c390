/**
 * cdb: a constant database, read as https://cr.yp.to/cdb/cdb.txt describes it: 256 pointers to hash tables, records, hash
 * tables, all numbers 32 bits little-endian. Keys compare octet by octet.
 */
import { closeSync, fstatSync, openSync, readSync, statSync, type Stats } from 'node:fs';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { systemWords } from './file-cache.ts';

interface OpenFile {
  readonly fd: number;
  readonly size: number;
  readonly stamp: string;
}

const headerOctets = 2048;
const maxOpenFiles = 25;
const maxValueOctets = 4 * 1024 * 1024;

export function createCdb(): LookupDriver {
  /** In the order in which they were opened. */
  const open = new Map<string, OpenFile>();
  const drop = (file: string): void => {
    const old = open.get(file);
    if (old !== undefined) closeSync(old.fd);
    open.delete(file);
  };
  const opened = (file: string): OpenFile => {
    const path = Buffer.from(file, 'latin1');
    const old = open.get(file);
    if (old?.stamp === stampOf(statSync(path))) return old;
    drop(file);
    for (const oldest of open.keys()) if (open.size >= maxOpenFiles) drop(oldest);
    const fd = openSync(path, 'r');
    const stats = fstatSync(fd);
    const made = { fd, size: stats.size, stamp: stampOf(stats) };
    open.set(file, made);
    return made;
  };
  return {
    type: 'cdb',
    style: 'single-key',
    find(file, key): DriverAnswer {
      let at: OpenFile;
      try {
        at = opened(file);
      } catch (e) {
        drop(file);
        return { kind: 'unusable', reason: `failed to open ${file} for cdb lookup: ${systemWords(e)}` };
      }
      if (at.size < headerOctets) return { kind: 'unusable', reason: `${file} is too short for a cdb file` };
      try {
        const value = search(at, Buffer.from(key, 'latin1'));
        return value === undefined ? { kind: 'missing' } : { kind: 'found', value: value.toString('latin1') };
      } catch (e) {
        return { kind: 'defer', reason: `${file}: ${e instanceof Malformed ? e.message : systemWords(e)}` };
      }
    },
    close() {
      for (const file of open.keys()) drop(file);
    },
  };
}

function stampOf(s: Stats): string {
  return `${s.dev}:${s.ino}:${s.size}:${s.mtimeMs}:${s.ctimeMs}`;
}

/** The file is no cdb, or a broken one. */
class Malformed extends Error {}

function read(file: OpenFile, position: number, length: number): Buffer {
  if (position + length > file.size)
    throw new Malformed('corrupt cdb: a pointer leads beyond the end of the file');
  const octets = Buffer.allocUnsafe(length);
  const got = readSync(file.fd, octets, 0, length, position);
  if (got !== length) throw new Malformed('the cdb file became shorter while it was read');
  return octets;
}

export function cdbHash(key: Uint8Array): number {
  let h = 5381;
  for (const octet of key) h = (((h << 5) + h) ^ octet) >>> 0;
  return h;
}

function search(file: OpenFile, key: Buffer): Buffer | undefined {
  const hash = cdbHash(key);
  const pointer = read(file, (hash & 255) * 8, 8);
  const slots = pointer.readUInt32LE(4);
  if (slots === 0) return undefined;
  if (slots * 8 > file.size) throw new Malformed('corrupt cdb: a hash table is longer than the file');
  const table = read(file, pointer.readUInt32LE(0), slots * 8);
  const first = (hash >>> 8) % slots;
  for (let i = 0; i < slots; i++) {
    const slot = ((first + i) % slots) * 8;
    const position = table.readUInt32LE(slot + 4);
    if (position === 0) return undefined;
    if (table.readUInt32LE(slot) !== hash) continue;
    const lengths = read(file, position, 8);
    if (lengths.readUInt32LE(0) !== key.length) continue;
    if (!read(file, position + 8, key.length).equals(key)) continue;
    const valueOctets = lengths.readUInt32LE(4);
    if (valueOctets > maxValueOctets)
      throw new Malformed(`the value is longer than ${maxValueOctets} octets`);
    return read(file, position + 8 + key.length, valueOctets);
  }
  return undefined;
}
