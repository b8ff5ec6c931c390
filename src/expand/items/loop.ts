/** `${map`, `${filter`, `${reduce`, `${sort`: items that go over a list. */
import { readList } from '../../mail/list-text.ts';
import type { Ast, ItemParts } from '../ast.ts';
import { orderCaseless } from '../ascii.ts';
import { aside, type Evaluator, type ItemRow, type Test } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { formatItems } from '../list-items.ts';
import { parseInteger } from '../numbers.ts';
import { error, finish, maxTextOctets, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';
import { compileGroup, groupOr } from './helpers.ts';

function closing(p: Parser, name: string): true | undefined {
  p.skipSpace();
  return p.take('}') ? true : p.fail(`missing } at end of "${name}"`);
}

/** Reads `{list}`, for reduce `{initial}`, then `{text}` or `{condition}`. */
function readLoop(p: Parser, name: string): ItemParts | undefined {
  const groups: Ast[] = [];
  const list = groupOr(p, `missing '{' for first arg of ${name}`);
  if (list === undefined) return undefined;
  groups.push(list);
  if (name === 'reduce') {
    const initial = groupOr(p, "missing '{' for second arg of reduce");
    if (initial === undefined) return undefined;
    groups.push(initial);
  }
  if (name !== 'filter') {
    p.skipSpace();
    if (!p.at('{')) return p.fail(`missing '{' for last arg of ${name}`);
    const body = p.group();
    if (body === undefined) return p.amendFailure(` inside "${name}" item`);
    groups.push(body);
    return closing(p, name) && { groups };
  }
  p.skipSpace();
  if (!p.take('{')) return p.fail(`missing '{' for last arg of ${name}`);
  const condition = p.condition();
  if (condition === undefined) return p.amendFailure(` inside "${name}" item`);
  p.skipSpace();
  if (!p.take('}'))
    return p.fail(
      `missing } at end of condition or expression inside "${name}"; could be an unquoted } in the content`,
    );
  return closing(p, name) && { groups, condition };
}

/**
 * Runs `body` with `$item` set to each item in turn; `take` gets each text. Memory is bounded by the sum of the texts.
 */
function forEachItem<T extends string | boolean>(
  items: readonly string[],
  tainted: boolean,
  body: (frame: Frame) => Result<T>,
  take: (result: T, item: string) => void,
  frame: Frame,
  name: string,
): Result<true> {
  const { item: oldItem, itemTainted } = frame;
  let size = 0;
  const one = (r: Outcome<T>, item: string): Outcome<true> => {
    if (typeof r === 'object')
      return r.kind === 'defer'
        ? r
        : {
            kind: r.kind,
            reason: `${r.reason} inside "${name}" ${name === 'filter' ? 'condition' : 'item'}`,
          };
    size += typeof r === 'string' ? r.length : item.length;
    if (size > maxTextOctets) return error(`expansion result is longer than ${maxTextOctets} octets`);
    take(r, item);
    return true;
  };
  const from = (start: number): Result<true> => {
    for (let i = start; i < items.length; i++) {
      const item = items[i] ?? '';
      frame.item = item;
      frame.itemTainted = tainted;
      const r = body(frame);
      if (r instanceof Promise)
        return r.then((v): Result<true> => {
          const ok = one(v, item);
          return ok === true ? from(i + 1) : ok;
        });
      const ok = one(r, item);
      if (ok !== true) return ok;
    }
    return true;
  };
  return finish(from(0), () => {
    frame.item = oldItem;
    frame.itemTainted = itemTainted;
  });
}

const map: ItemRow = {
  parse: readLoop,
  compile(parts, compiler, name) {
    const list = compileGroup(parts, 0, compiler);
    const body = compileGroup(parts, 1, compiler);
    return (frame) =>
      aside(list, frame, (text, tainted) => {
        const { items, separator } = readList(text);
        const out: string[] = [];
        const r = forEachItem(items, tainted, body, (t) => void out.push(t), frame, name);
        return settle(r, () => formatItems(out, separator));
      });
  },
};

const filter: ItemRow = {
  parse: readLoop,
  compile(parts, compiler, name) {
    const list = compileGroup(parts, 0, compiler);
    const test: Test = parts.condition === undefined ? () => false : compiler.test(parts.condition);
    return (frame) =>
      aside(list, frame, (text, tainted) => {
        const { items, separator } = readList(text);
        const out: string[] = [];
        const r = forEachItem(items, tainted, test, (yes, item) => void (yes && out.push(item)), frame, name);
        return settle(r, () => {
          if (tainted && out.length > 0) frame.tainted = true;
          return formatItems(out, separator);
        });
      });
  },
};

const reduce: ItemRow = {
  parse: readLoop,
  compile(parts, compiler, name) {
    const list = compileGroup(parts, 0, compiler);
    const initial = compileGroup(parts, 1, compiler);
    const body = compileGroup(parts, 2, compiler);
    return (frame) =>
      aside(list, frame, (text, tainted) =>
        aside(initial, frame, (start, startTainted) => {
          const { value, valueTainted, tainted: before } = frame;
          frame.value = start;
          frame.valueTainted = startTainted;
          const step: Evaluator = (f) => {
            f.tainted = false;
            return body(f);
          };
          const take = (t: string): void => {
            frame.value = t;
            frame.valueTainted = frame.tainted;
          };
          const r = forEachItem(readList(text).items, tainted, step, take, frame, name);
          let result = '';
          const finished = settle(r, () => {
            result = frame.value;
            frame.tainted = before || (frame.valueTainted && result !== '');
            return result;
          });
          return finish(finished, () => {
            frame.value = value;
            frame.valueTainted = valueTainted;
          });
        }),
      );
  },
};

type Order = (a: string, b: string) => boolean;

/** Numbers that are none sort before nothing, as in Exim. */
function numeric(before: (a: bigint, b: bigint) => boolean): Order {
  return (a, b) => {
    const x = parseInteger(a);
    const y = parseInteger(b);
    return x.kind === 'integer' && y.kind === 'integer' && before(x.value, y.value);
  };
}

/** Comparator -> true where `a` sorts before `b`. */
const orders: ReadonlyMap<string, Order> = new Map<string, Order>([
  ['<', numeric((a, b) => a < b)],
  ['<=', numeric((a, b) => a <= b)],
  ['>', numeric((a, b) => a > b)],
  ['>=', numeric((a, b) => a >= b)],
  ['lt', (a, b) => a < b],
  ['le', (a, b) => a <= b],
  ['gt', (a, b) => a > b],
  ['ge', (a, b) => a >= b],
  ['lti', (a, b) => orderCaseless(a, b) < 0],
  ['lei', (a, b) => orderCaseless(a, b) <= 0],
  ['gti', (a, b) => orderCaseless(a, b) > 0],
  ['gei', (a, b) => orderCaseless(a, b) >= 0],
]);

const sort: ItemRow = {
  parse(p, name) {
    const groups: Ast[] = [];
    let start = 0;
    for (const what of ['list', 'comparator', 'extractor']) {
      p.skipSpace();
      start = p.position + 1;
      const group = groupOr(p, `missing '{' for ${what} arg of sort`);
      if (group === undefined) return undefined;
      groups.push(group);
    }
    const extractor = p.source.slice(start, p.position - 1);
    return closing(p, name) && { groups, sources: [extractor] };
  },
  compile(parts, compiler) {
    const list = compileGroup(parts, 0, compiler);
    const comparator = compileGroup(parts, 1, compiler);
    const extractor = compileGroup(parts, 2, compiler);
    return (frame) =>
      aside(list, frame, (text, tainted) =>
        aside(comparator, frame, (name) => {
          const before = orders.get(name.trim());
          if (before === undefined) return error('comparator not handled for sort');
          const { items, separator } = readList(text);
          const keys: string[] = [];
          const kept = frame.tainted;
          const r = forEachItem(items, tainted, extractor, (key) => void keys.push(key), frame, 'sort');
          return settle(r, () => {
            frame.tainted = kept || (tainted && items.length > 0);
            // To Exim an empty key is none.
            if (keys.includes('')) return error(`field-extract in sort: "${parts.sources?.[0] ?? ''}"`);
            return sorted(items, keys, before, separator);
          });
        }),
      );
  },
};

function settle(r: Result<true>, proceed: () => Outcome<string>): Result<string> {
  if (r instanceof Promise) return r.then((v) => (v === true ? proceed() : v));
  return r === true ? proceed() : r;
}

/** Inserts each item before the first one that it sorts before. */
function sorted(items: readonly string[], keys: readonly string[], before: Order, separator: string): string {
  const out: { readonly item: string; readonly key: string }[] = [];
  for (let i = 0; i < items.length; i++) {
    const key = keys[i] ?? '';
    let at = 0;
    for (; at < out.length; at++) {
      if (before(key, out[at]?.key ?? '')) break;
    }
    out.splice(at, 0, { item: items[i] ?? '', key });
  }
  return formatItems(
    out.map((o) => o.item),
    separator,
  );
}

export const loopItems: Readonly<Record<string, ItemRow>> = { map, filter, reduce, sort };
