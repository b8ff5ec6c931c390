/**
 * Regular expressions: PCRE2 itself (Debian's libpcre2-8, the library Exim uses) through koffi, on octets, with JIT and a
 * bound on the work one match may do. The library is loaded on first use.
 */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

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

/** Backtracking steps that one match may take; about ten milliseconds. */
const matchLimit = 1_000_000;
const maxGroups = 100;
const maxCached = 500;
const maxJitStack = 512 * 1024;

const pcre2Caseless = 0x8;
const pcre2JitComplete = 1;
const pcre2Anchored = 0x80000000;
const pcre2NotEmptyAtStart = 0x8;
const noMatch = -1;
const errorJitStack = -46;
const errorMatchLimit = -47;
const pcre2NoJit = 0x2000;
const unset = 2n ** 64n - 1n;

type Pointer = bigint | null;

interface Library {
  compile(
    pattern: Buffer,
    length: number,
    options: number,
    error: number[],
    offset: number[],
    context: null,
  ): Pointer;
  jitCompile(code: Pointer, options: number): number;
  freeCode(code: Pointer): void;
  match(
    code: Pointer,
    subject: Buffer,
    length: number,
    start: number,
    options: number,
    data: Pointer,
    context: Pointer,
  ): number;
  errorMessage(code: number, buffer: Buffer, length: number): number;
  readonly data: Pointer;
  readonly context: Pointer;
  /** Start and end of each group of the last match. */
  readonly offsets: BigUint64Array;
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
    const context = (f('void *pcre2_match_context_create_8(void *)') as (g: null) => Pointer)(null);
    (f('int pcre2_set_match_limit_8(void *, uint32_t)') as (c: Pointer, n: number) => number)(
      context,
      matchLimit,
    );
    const stack = (
      f('void *pcre2_jit_stack_create_8(size_t, size_t, void *)') as (
        a: number,
        b: number,
        g: null,
      ) => Pointer
    )(32 * 1024, maxJitStack, null);
    (f('void pcre2_jit_stack_assign_8(void *, void *, void *)') as (c: Pointer, f: null, s: Pointer) => void)(
      context,
      null,
      stack,
    );
    const data = (f('void *pcre2_match_data_create_8(uint32_t, void *)') as (n: number, g: null) => Pointer)(
      maxGroups,
      null,
    );
    const pointer = (f('void *pcre2_get_ovector_pointer_8(void *)') as (d: Pointer) => Pointer)(data);
    return {
      compile: f(
        'void *pcre2_compile_8(const uint8_t *, size_t, uint32_t, _Out_ int *, _Out_ size_t *, void *)',
      ) as Library['compile'],
      jitCompile: f('int pcre2_jit_compile_8(void *, uint32_t)') as Library['jitCompile'],
      freeCode: f('void pcre2_code_free_8(void *)') as Library['freeCode'],
      match: f(
        'int pcre2_match_8(void *, const uint8_t *, size_t, size_t, uint32_t, void *, void *)',
      ) as Library['match'],
      errorMessage: f(
        'int pcre2_get_error_message_8(int, _Out_ uint8_t *, size_t)',
      ) as Library['errorMessage'],
      data,
      context,
      offsets: new BigUint64Array(koffi.view(pointer, maxGroups * 16)),
    };
  } catch (e) {
    const why = e instanceof Error ? e.message : String(e);
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

const compiled = new Map<string, Regex | RegexFailure>();

/** Compiles a pattern (an octet string) or says what is wrong with it in Exim's words; bounded cache. */
export function compileRegex(pattern: string, flags: RegexFlags = {}): Regex | RegexFailure {
  const key = `${flags.caseless === true ? 'i' : '-'}${pattern}`;
  const hit = compiled.get(key);
  if (hit !== undefined) return hit;
  const regex = compileNew(pattern, flags);
  if (compiled.size >= maxCached) {
    const oldest = compiled.keys().next();
    if (oldest.done !== true) compiled.delete(oldest.value);
  }
  compiled.set(key, regex);
  return regex;
}

const released = new FinalizationRegistry<Pointer>((code) => {
  const lib = library();
  if (!('reason' in lib)) lib.freeCode(code);
});

let subjectBuffer = Buffer.allocUnsafe(16 * 1024);

function subjectOctets(subject: string): Buffer {
  if (subject.length > subjectBuffer.length) {
    // Large subjects get a buffer of their own, so that one of them does not hold memory for good.
    if (subject.length > 1024 * 1024) return Buffer.from(subject, 'latin1');
    subjectBuffer = Buffer.allocUnsafe(subject.length * 2);
  }
  subjectBuffer.write(subject, 0, 'latin1');
  return subjectBuffer;
}

function compileNew(pattern: string, flags: RegexFlags): Regex | RegexFailure {
  const lib = library();
  if ('reason' in lib) return lib;
  // PCRE2 takes no null pointer, which an empty buffer is: so there is always one octet more.
  const octets = Buffer.from(`${pattern}\0`, 'latin1');
  const error = [0];
  const offset = [0];
  const code = lib.compile(
    octets,
    pattern.length,
    flags.caseless === true ? pcre2Caseless : 0,
    error,
    offset,
    null,
  );
  if (code === null)
    return {
      kind: 'error',
      reason: `regular expression error in "${pattern}": ${message(lib, error[0] ?? 0)} at offset ${offset[0] ?? 0}`,
    };
  // A pattern that JIT cannot do is interpreted instead.
  lib.jitCompile(code, pcre2JitComplete);
  const regex: Regex = {
    kind: 'regex',
    match: (s, start = 0, continued = false) => run(lib, code, s, start, continued),
  };
  released.register(regex, code);
  return regex;
}

function run(
  lib: Library,
  code: Pointer,
  subject: string,
  start: number,
  continued: boolean,
): ReturnType<Regex['match']> {
  const octets = subjectOctets(subject);
  const options = continued ? pcre2Anchored + pcre2NotEmptyAtStart : 0;
  let count = lib.match(code, octets, subject.length, start, options, lib.data, lib.context);
  if (count === errorJitStack)
    count = lib.match(code, octets, subject.length, start, options + pcre2NoJit, lib.data, lib.context);
  if (count === noMatch) return undefined;
  if (count < 0)
    return {
      kind: 'error',
      reason:
        count === errorMatchLimit
          ? `regular expression match needs more than ${matchLimit} steps`
          : `regular expression match failed: ${message(lib, count)}`,
    };
  // Zero means more groups than the vector holds; those kept are good.
  const kept = count === 0 ? maxGroups : count;
  const groups: string[] = [];
  const { offsets } = lib;
  for (let i = 0; i < kept; i++) {
    const from = offsets[i * 2] ?? unset;
    groups.push(from === unset ? '' : subject.slice(Number(from), Number(offsets[i * 2 + 1] ?? 0n)));
  }
  return { kind: 'match', start: Number(offsets[0] ?? 0n), end: Number(offsets[1] ?? 0n), groups };
}

function message(lib: Library, code: number): string {
  const buffer = Buffer.alloc(256);
  lib.errorMessage(code, buffer, buffer.length);
  const end = buffer.indexOf(0);
  return buffer.toString('latin1', 0, end < 0 ? buffer.length : end);
}
