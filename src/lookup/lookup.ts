/**
 * The lookup port (Exim manual, "File and database lookups"). A driver answers one key or query; what all types share
 * (`partial-`, `*`, `*@`, `ret=key`) stands here, so that drivers do not know of it.
 */
import type { Awaitable, ExpandServices, LookupAnswer, LookupRequest } from '../expand/scope.ts';

export type DriverAnswer =
  | { readonly kind: 'found'; readonly value: string }
  | { readonly kind: 'missing' }
  /** Could not be asked now: the reason without the key. */
  | { readonly kind: 'defer'; readonly reason: string }
  /** The file or database cannot be opened at all: the whole reason. */
  | { readonly kind: 'unusable'; readonly reason: string };

/** One type of lookup. Texts are octet strings. */
export interface LookupDriver {
  /** As written after `${lookup{key}`: `lsearch`. */
  readonly type: string;
  readonly style: 'single-key' | 'query';
  /**
   * @param file absolute path, untainted; the empty string for query styles
   * @param key never empty for single-key styles
   * @param options `name=value` texts that the driver may know; it answers `unusable` to one that it does not
   */
  find(file: string, key: string, options: readonly string[]): Awaitable<DriverAnswer>;
  /** Gives up cached files and connections. */
  close?(): Awaitable<void>;
}

/** Gives the lookup service of expansions and lists. Answers come at once where the driver answers at once. */
export function createLookups(drivers: readonly LookupDriver[]): ExpandServices['lookup'] {
  const byType = new Map(drivers.map((d) => [d.type, d]));
  return (request) => {
    const driver = byType.get(request.type);
    if (driver === undefined)
      return defer(`lookup type "${request.type}" is not available (there is no driver for it)`);
    if (driver.style === 'query')
      return answer(driver.find('', request.key, options(request)), request, undefined);
    const { file } = request;
    if (file === undefined) return defer(`"${request.type}" lookup without a file name`);
    if (request.fileTainted)
      return defer(
        `tainted file name for the ${request.type} lookup: "${file}"; use a value that a lookup gave instead`,
      );
    if (!file.startsWith('/'))
      return defer(`failed to open ${file} for ${request.type} lookup: not an absolute path`);
    if (request.key === '') return { kind: 'missing' };
    if (request.partial === undefined && request.defaultStar === undefined)
      return answer(driver.find(file, request.key, options(request)), request, undefined);
    return search(driver, file, request, candidates(request), 0);
  };
}

interface Candidate {
  readonly key: string;
  /** The wild and the fixed part of the original key, for `$1` and `$2`. */
  readonly parts?: readonly [string, string];
}

const shared = /^(?:cache=.*|ret=key)$/;

function options(request: LookupRequest): readonly string[] {
  return request.options.length === 0 ? request.options : request.options.filter((o) => !shared.test(o));
}

/** Every key to try, in order (Exim manual, "Partial matching in single-key lookups", "Default values in single-key lookups"). */
function candidates(request: LookupRequest): Candidate[] {
  const { key, partial, defaultStar } = request;
  const all: Candidate[] = [partial === undefined ? { key } : { key, parts: ['', key] }];
  if (partial !== undefined) {
    const { affix, minimum } = partial;
    if (affix !== '') all.push({ key: affix + key, parts: ['', key] });
    const labels = key.split('.');
    for (let i = 1; i < labels.length && labels.length - i >= Math.max(1, minimum); i++) {
      const fixed = labels.slice(i).join('.');
      all.push({ key: affix + fixed, parts: [labels.slice(0, i).join('.'), fixed] });
    }
    if (minimum === 0 && affix !== '') {
      const last = affix.length > 1 && affix.endsWith('.') ? affix.slice(0, -1) : affix;
      all.push({ key: last, parts: [key, ''] });
    }
  }
  if (defaultStar === '*@') {
    const at = key.lastIndexOf('@');
    if (at > 0) all.push({ key: `*${key.slice(at)}`, parts: [key.slice(0, at), ''] });
  }
  if (defaultStar !== undefined && !all.some((c) => c.key === '*')) all.push({ key: '*', parts: [key, ''] });
  return all;
}

function search(
  driver: LookupDriver,
  file: string,
  request: LookupRequest,
  keys: readonly Candidate[],
  start: number,
): Awaitable<LookupAnswer> {
  const known = options(request);
  for (let i = start; i < keys.length; i++) {
    const candidate = keys[i];
    if (candidate === undefined) break;
    const found = driver.find(file, candidate.key, known);
    if (found instanceof Promise)
      return found.then(
        (a): Awaitable<LookupAnswer> =>
          a.kind === 'missing'
            ? search(driver, file, request, keys, i + 1)
            : translate(a, request, candidate),
      );
    if (found.kind !== 'missing') return translate(found, request, candidate);
  }
  return { kind: 'missing' };
}

function answer(
  found: Awaitable<DriverAnswer>,
  request: LookupRequest,
  candidate: Candidate | undefined,
): Awaitable<LookupAnswer> {
  return found instanceof Promise
    ? found.then((a) => translate(a, request, candidate))
    : translate(found, request, candidate);
}

function translate(a: DriverAnswer, request: LookupRequest, candidate: Candidate | undefined): LookupAnswer {
  switch (a.kind) {
    case 'missing':
      return a;
    case 'defer':
      return defer(`lookup of "${request.key}" gave DEFER: ${a.reason}`);
    case 'unusable':
      return defer(a.reason);
    case 'found': {
      if (candidate?.parts === undefined && request.options.length === 0) return a;
      const value = request.options.includes('ret=key') ? request.key : a.value;
      return candidate?.parts === undefined
        ? { kind: 'found', value }
        : { kind: 'found', value, parts: candidate.parts };
    }
  }
}

function defer(reason: string): LookupAnswer {
  return { kind: 'defer', reason };
}
