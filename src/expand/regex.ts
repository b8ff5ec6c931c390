/**
 * Regular expressions: PCRE2 itself (Debian's libpcre2-8, the library Exim uses) through koffi, on octets, with JIT and a
 * bound on the work one match may do. The library is loaded on first use.
 */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { errorText } from '../mail/error-text.ts';

export interface RegexMatch {
  readonly kind: 'match';
  /** Offsets of the whole match. */
  readonly start: number;
  readonly end: number;
  /** `$0`, `$1`...; a group that took no part is empty. */
  readonly groups: readonly string[];
}

export interface RegexFailure {
  readonly kind: 'error';
  readonly reason: string;
}

export interface Regex {
  readonly kind: 'regex';
  /**
   * Searches from `start`; undefined where there is no match. With `continued`, only a non-empty match at exactly
   * `start` counts: what follows an empty match in a global replacement.
   */
  readonly match: (
    subject: string,
    start?: number,
    continued?: boolean,
  ) => RegexMatch | RegexFailure | undefined;
}

export interface RegexFlags {
  readonly caseless?: boolean;
}

/** Backtracking steps from one place of the subject: a millisecond or so. */
const maxSteps = 100_000;
/** A step may look at all of the subject, so on long ones fewer are taken: steps times octets. */
const maxStepOctets = 250_000_000;
/** Longest time for one search, looked at between chunks of places where a match may start. */
const maxSearchMs = 200;
const firstChunk = 64;
const largestChunk = 512;
/** Backtracking depth and memory (KiB) of the interpreter, which runs what JIT cannot. */
const maxDepth = 250_000;
const maxHeap = 20_000;
const maxPatternOctets = 64 * 1024;
const maxGroups = 100;
const maxCached = 500;
const maxJitStack = 512 * 1024;

const pcre2Caseless = 0x8;
const pcre2UseOffsetLimit = 0x00800000;
const pcre2InfoAllOptions = 0;
const noOffsetLimit = 2n ** 64n - 1n;
const pcre2JitComplete = 1;
const pcre2Anchored = 0x80000000;
const pcre2NotEmptyAtStart = 0x8;
const noMatch = -1;
const errorJitStack = -46;
const errorMatchLimit = -47;
const errorDepthLimit = -53;
const errorHeapLimit = -63;
const pcre2NoJit = 0x2000;
const unset = 0xffffffff;

/** An address as a number, which koffi hands over faster than pointers; 0 for none. */
type Pointer = number;

interface Library {
  compile(
    pattern: Buffer,
    length: number,
    options: number,
    error: number[],
    offset: number[],
    context: Pointer,
  ): Pointer;
  jitCompile(code: Pointer, options: number): number;
  freeCode(code: Pointer): void;
  match(
    code: Pointer,
    subject: Pointer,
    length: number,
    start: number,
    options: number,
    data: Pointer,
    context: Pointer,
  ): number;
  patternInfo(code: Pointer, what: number, value: number[]): number;
  setMatchLimit(context: Pointer, steps: number): number;
  setOffsetLimit(context: Pointer, offset: number | bigint): number;
  errorMessage(code: number, buffer: Buffer, length: number): number;
  address(buffer: Buffer): Pointer;
  readonly data: Pointer;
  readonly context: Pointer;
  /** Start and end of each group of the last match, 64 bits each: the lower halves are the even ones. */
  readonly offsets: Uint32Array;
}

let loaded: Library | RegexFailure | undefined;

function library(): Library | RegexFailure {
  loaded ??= load();
  return loaded;
}

function load(): Library | RegexFailure {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    const lib = koffi.load('libpcre2-8.so.0');
    const f = (declaration: string): unknown => lib.func(declaration);
    const context = (f('uintptr_t pcre2_match_context_create_8(uintptr_t)') as (g: Pointer) => Pointer)(0);
    const setLimit = (name: string, limit: number): void =>
      void (f(`int pcre2_set_${name}_limit_8(uintptr_t, uint32_t)`) as (c: Pointer, n: number) => number)(
        context,
        limit,
      );
    setLimit('match', maxSteps);
    setLimit('depth', maxDepth);
    setLimit('heap', maxHeap);
    const stack = (
      f('uintptr_t pcre2_jit_stack_create_8(size_t, size_t, uintptr_t)') as (
        a: number,
        b: number,
        g: Pointer,
      ) => Pointer
    )(32 * 1024, maxJitStack, 0);
    (
      f('void pcre2_jit_stack_assign_8(uintptr_t, uintptr_t, uintptr_t)') as (
        c: Pointer,
        f: Pointer,
        s: Pointer,
      ) => void
    )(context, 0, stack);
    const data = (
      f('uintptr_t pcre2_match_data_create_8(uint32_t, uintptr_t)') as (n: number, g: Pointer) => Pointer
    )(maxGroups, 0);
    const pointer = (f('void *pcre2_get_ovector_pointer_8(uintptr_t)') as (d: Pointer) => unknown)(data);
    return {
      compile: f(
        'uintptr_t pcre2_compile_8(const uint8_t *, size_t, uint32_t, _Out_ int *, _Out_ size_t *, uintptr_t)',
      ) as Library['compile'],
      jitCompile: f('int pcre2_jit_compile_8(uintptr_t, uint32_t)') as Library['jitCompile'],
      freeCode: f('void pcre2_code_free_8(uintptr_t)') as Library['freeCode'],
      match: f(
        'int pcre2_match_8(uintptr_t, uintptr_t, size_t, size_t, uint32_t, uintptr_t, uintptr_t)',
      ) as Library['match'],
      patternInfo: f(
        'int pcre2_pattern_info_8(uintptr_t, uint32_t, _Out_ uint32_t *)',
      ) as Library['patternInfo'],
      setMatchLimit: f('int pcre2_set_match_limit_8(uintptr_t, uint32_t)') as Library['setMatchLimit'],
      setOffsetLimit: f('int pcre2_set_offset_limit_8(uintptr_t, size_t)') as Library['setOffsetLimit'],
      errorMessage: f(
        'int pcre2_get_error_message_8(int, _Out_ uint8_t *, size_t)',
      ) as Library['errorMessage'],
      address: (buffer) => Number(koffi.address(buffer)),
      data,
      context,
      offsets: new Uint32Array(koffi.view(pointer, maxGroups * 16)),
    };
  } catch (e) {
    const why = errorText(e);
    return {
      kind: 'error',
      reason: `regular expressions need the library libpcre2-8.so.0 (Debian package libpcre2-8-0) and the npm package koffi: ${why}`,
    };
  }
}

/** Says why regular expressions cannot be used on this machine; undefined where they can. For start-up checks. */
export function regexUnavailable(): string | undefined {
  const lib = library();
  return 'reason' in lib ? lib.reason : undefined;
}

/** A compiled pattern. Its code may have been given up for others; then it is compiled again. */
interface Compiled {
  readonly key: string;
  readonly pattern: string;
  readonly flags: RegexFlags;
  readonly regex: Regex;
  code: Pointer;
  /** A match can start at one place only, so that there is nothing to search. */
  startsOnce: boolean;
  /** Since the last time that room was made. */
  used: boolean;
}

/** By flags and pattern: those with code, and what could not be compiled. */
const compiled = new Map<string, Compiled | RegexFailure>();

/** Compiles a pattern (an octet string) or says what is wrong with it in Exim's words; bounded cache. */
export function compileRegex(pattern: string, flags: RegexFlags = {}): Regex | RegexFailure {
  const key = `${flags.caseless === true ? 'i' : '-'}${pattern}`;
  const hit = compiled.get(key);
  if (hit !== undefined) return 'regex' in hit ? hit.regex : hit;
  if (pattern.length > maxPatternOctets)
    return { kind: 'error', reason: `regular expression is longer than ${maxPatternOctets} octets` };
  const lib = library();
  if ('reason' in lib) return lib;
  const regex: Regex = {
    kind: 'regex',
    match: (s, start = 0, continued = false) => search(lib, entry, s, start, continued),
  };
  const entry: Compiled = { key, pattern, flags, regex, code: 0, startsOnce: false, used: true };
  const failure = compileCode(lib, entry);
  if (failure === undefined) return regex;
  keep(lib, key, failure);
  return failure;
}

/** Takes one in, and gives up one that was not used since it was last looked at. */
function keep(lib: Library, key: string, value: Compiled | RegexFailure): void {
  while (compiled.size >= maxCached) {
    const oldest = compiled.entries().next();
    if (oldest.done === true) break;
    const [oldKey, old] = oldest.value;
    compiled.delete(oldKey);
    if (!('regex' in old)) continue;
    if (old.used) {
      old.used = false;
      compiled.set(oldKey, old);
      continue;
    }
    lib.freeCode(old.code);
    old.code = 0;
  }
  compiled.set(key, value);
}

/** Where subjects are put; its address is asked for once. */
let subjectBuffer = Buffer.allocUnsafe(16 * 1024);
let subjectAddress = 0;
/** Longer subjects get a buffer of their own, so that one of them does not hold memory for good. */
const maxKeptSubject = 1024 * 1024;

/** What the buffer holds, where it is worth knowing: replacements search the same subject again and again. */
let placed = '';
let largeBuffer: Buffer | undefined;

/** Writes the subject where the library finds it; gives the address, good until the next call. */
function placeSubject(lib: Library, subject: string): Pointer {
  const { length } = subject;
  if (length > maxKeptSubject) {
    largeBuffer = Buffer.from(subject, 'latin1');
    return lib.address(largeBuffer);
  }
  if (subjectAddress === 0 || length > subjectBuffer.length) {
    subjectBuffer = Buffer.allocUnsafe(Math.max(subjectBuffer.length, length * 2));
    subjectAddress = lib.address(subjectBuffer);
    placed = '';
  }
  if (length <= 48) {
    // A call into Node for a few octets costs more than the octets.
    for (let i = 0; i < length; i++) subjectBuffer[i] = subject.charCodeAt(i);
    placed = '';
  } else if (subject !== placed) {
    subjectBuffer.write(subject, 0, 'latin1');
    placed = subject;
  }
  return subjectAddress;
}

function compileCode(lib: Library, entry: Compiled): RegexFailure | undefined {
  const { pattern } = entry;
  // PCRE2 takes no null pointer, which an empty buffer is: so there is always one octet more.
  const octets = Buffer.from(`${pattern}\0`, 'latin1');
  const error = [0];
  const offset = [0];
  const options = pcre2UseOffsetLimit + (entry.flags.caseless === true ? pcre2Caseless : 0);
  const code = lib.compile(octets, pattern.length, options, error, offset, 0);
  if (code === 0)
    return {
      kind: 'error',
      reason: `regular expression error in "${pattern}": ${message(lib, error[0] ?? 0)} at offset ${offset[0] ?? 0}`,
    };
  // A pattern that JIT cannot do is interpreted instead.
  lib.jitCompile(code, pcre2JitComplete);
  const all = [0];
  lib.patternInfo(code, pcre2InfoAllOptions, all);
  entry.code = code;
  entry.used = true;
  // \G is where a search begins, so a search must not be cut in pieces.
  entry.startsOnce = ((all[0] ?? 0) & pcre2Anchored) !== 0 || pattern.includes('\\G');
  keep(lib, entry.key, entry);
  return undefined;
}

let currentLimit = maxSteps;

/**
 * Searches chunk by chunk of places where a match may start, so that the time can be looked at: PCRE2 counts steps anew
 * for each of them.
 */
function search(
  lib: Library,
  entry: Compiled,
  subject: string,
  start: number,
  continued: boolean,
): ReturnType<Regex['match']> {
  entry.used = true;
  if (entry.code === 0) {
    const failure = compileCode(lib, entry);
    if (failure !== undefined) return failure;
  }
  const octets = placeSubject(lib, subject);
  const limit = Math.min(maxSteps, Math.max(250, Math.floor(maxStepOctets / (subject.length + 1))));
  if (limit !== currentLimit) lib.setMatchLimit(lib.context, (currentLimit = limit));
  const options = continued ? pcre2Anchored + pcre2NotEmptyAtStart : 0;
  const once = entry.startsOnce || continued || subject.length - start <= firstChunk;
  if (once) return toMatch(lib, runCode(lib, entry.code, octets, subject.length, start, options), subject);
  const began = performance.now();
  let chunk = firstChunk;
  try {
    for (let at = start; at <= subject.length; ) {
      lib.setOffsetLimit(lib.context, at + chunk - 1);
      const count = runCode(lib, entry.code, octets, subject.length, at, options);
      if (count !== noMatch) return toMatch(lib, count, subject);
      const spent = performance.now() - began;
      if (spent > maxSearchMs && at + chunk <= subject.length)
        return { kind: 'error', reason: `regular expression match takes longer than ${maxSearchMs} ms` };
      at += chunk;
      chunk = spent < 2 ? Math.min(largestChunk, chunk * 2) : spent < 50 ? chunk : 1;
    }
    return undefined;
  } finally {
    lib.setOffsetLimit(lib.context, noOffsetLimit);
    largeBuffer = undefined;
  }
}

function runCode(
  lib: Library,
  code: Pointer,
  octets: Pointer,
  length: number,
  start: number,
  options: number,
): number {
  const count = lib.match(code, octets, length, start, options, lib.data, lib.context);
  if (count !== errorJitStack) return count;
  return lib.match(code, octets, length, start, options + pcre2NoJit, lib.data, lib.context);
}

function toMatch(lib: Library, count: number, subject: string): ReturnType<Regex['match']> {
  if (count === noMatch) return undefined;
  if (count === errorMatchLimit || count === errorDepthLimit || count === errorHeapLimit)
    return { kind: 'error', reason: `regular expression match needs more than ${currentLimit} steps` };
  if (count < 0) return { kind: 'error', reason: `regular expression match failed: ${message(lib, count)}` };
  // Zero means more groups than the vector holds; those kept are good.
  const kept = count === 0 ? maxGroups : count;
  const groups: string[] = [];
  const { offsets } = lib;
  for (let i = 0; i < kept; i++) {
    const from = offsets[i * 4] ?? unset;
    groups.push(from === unset ? '' : subject.slice(from, offsets[i * 4 + 2]));
  }
  return { kind: 'match', start: offsets[0] ?? 0, end: offsets[2] ?? 0, groups };
}

function message(lib: Library, code: number): string {
  const buffer = Buffer.alloc(256);
  lib.errorMessage(code, buffer, buffer.length);
  const end = buffer.indexOf(0);
  return buffer.toString('latin1', 0, end < 0 ? buffer.length : end);
}
