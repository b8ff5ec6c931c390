/**
 * The lookup service over the drivers. Answers come at once where the driver answers at once. What all types share
 * stands here: affixes and defaults, options, taint, kept answers.
 */
import type { Awaitable } from '../mail/awaitable.ts';
import { createKeptAnswers } from './kept-answers.ts';
import { candidates, type Candidate } from './keys.ts';
import type { DriverAnswer, Lookup, LookupAnswer, LookupDriver, LookupRequest } from './lookup.ts';

export function createLookups(drivers: readonly LookupDriver[]): Lookup {
  const byType = new Map(drivers.map((d) => [d.type, d]));
  const kept = createKeptAnswers();
  return (request) => {
    const driver = byType.get(request.type);
    if (driver === undefined)
      return defer(`lookup type "${request.type}" is not available (there is no driver for it)`);
    if (driver.style === 'query') return query(driver, request, kept);
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

function query(
  driver: LookupDriver,
  request: LookupRequest,
  kept: ReturnType<typeof createKeptAnswers>,
): Awaitable<LookupAnswer> {
  const { type, key, keyQuoted } = request;
  if (driver.quotes === true && request.keyTainted)
    return defer(
      `tainted search query is not properly quoted: "${key}"; put what comes from the wire into \${quote_${type}:...}`,
    );
  const known = options(request);
  const ask = (): Awaitable<DriverAnswer> => driver.find('', key, known, keyQuoted === true);
  if (driver.keepMs === undefined) return answer(ask(), request, undefined);
  const read = !request.options.includes('cache=no_rd');
  return answer(kept.get(driver, key, known, read, ask), request, undefined);
}

const shared = /^(?:cache=.*|ret=key)$/;

function options(request: LookupRequest): readonly string[] {
  return request.options.length === 0 ? request.options : request.options.filter((o) => !shared.test(o));
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
      return {
        kind: 'found',
        value,
        ...(candidate?.parts === undefined ? {} : { parts: candidate.parts }),
        ...(a.authenticated === undefined ? {} : { authenticated: a.authenticated }),
      };
    }
  }
}

function defer(reason: string): LookupAnswer {
  return { kind: 'defer', reason };
}
