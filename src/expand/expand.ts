/**
 * String expansion (Exim manual, "String expansions"): a template is parsed once and evaluated many times, at once where
 * no lookup, list or ACL has to wait. Texts are octet strings (latin1). Nothing here throws for what a configuration
 * or a message contains.
 */
import type { Ast } from './ast.ts';
import { compile, compileQuery } from './evaluate.ts';
import type { Evaluator } from './evaluator.ts';
import { createFrame, type Frame } from './frame.ts';
import { bounded, error, type Expansion, type Failure, type Outcome, type Result } from './outcome.ts';
import { remember } from './memory.ts';
import { parse, type TemplateError } from './parse.ts';
import type { Awaitable, ExpandScope } from './scope.ts';

export type { Expansion, Failure } from './outcome.ts';
export type { TemplateError } from './parse.ts';
export { quotedTypes } from './quoted.ts';

export interface Template {
  readonly kind: 'template';
  readonly source: string;
  readonly ast: Ast;
  readonly evaluate: Evaluator;
}

/** Reads an expansion string; what is wrong with it comes back as a value with its place. */
export function parseTemplate(source: string): Template | TemplateError {
  const ast = parse(source);
  if (ast.kind === 'template-error') return ast;
  return { kind: 'template', source, ast, evaluate: compile(ast) };
}

/**
 * The template evaluated as a query of this lookup type: what goes through its quoting operator does not taint.
 *
 * @param edit changes what was quoted
 */
export function asQuery(template: Template, type: string, edit: (text: string) => string): Template {
  return { ...template, evaluate: compileQuery(template.ast, type, edit) };
}

/** The text of a template that needs no evaluation, else undefined. */
export function constantText(template: Template): string | undefined {
  return template.ast.kind === 'text' ? template.ast.text : undefined;
}

/** Evaluates a template. At most `maxTextOctets` of text; a longer result is an error. */
export function expand(template: Template, scope: ExpandScope): Awaitable<Expansion> {
  const frame = createFrame(scope, expandInFrame);
  const r = template.evaluate(frame);
  return r instanceof Promise ? r.then((v) => toExpansion(v, frame)) : toExpansion(r, frame);
}

/** Parses, with a bounded cache, and evaluates. A malformed text is an `error`. */
export function expandText(source: string, scope: ExpandScope): Awaitable<Expansion> {
  const template = cachedTemplate(source);
  return template.kind === 'template' ? expand(template, scope) : error(template.reason);
}

/**
 * A `condition =` value (Exim manual, "condition" of routers): empty, `0`, `no` and `false` are false, anything else is
 * true. Letter case and white space around do not count. A forced failure comes back as it is.
 */
export function expandBoolean(
  source: string | Template,
  scope: ExpandScope,
): Awaitable<{ readonly kind: 'ok'; readonly value: boolean } | Failure> {
  const r = typeof source === 'string' ? expandText(source, scope) : expand(source, scope);
  return r instanceof Promise ? r.then(toBoolean) : toBoolean(r);
}

/** How a `condition =` value reads: see {@link expandBoolean}. */
export function isTrue(text: string): boolean {
  return !/^\s*(?:0|no|false)?\s*$/i.test(text);
}

function toBoolean(r: Expansion): { readonly kind: 'ok'; readonly value: boolean } | Failure {
  return r.kind === 'ok' ? { kind: 'ok', value: isTrue(r.text) } : r;
}

function toExpansion(r: Outcome<string>, frame: Frame): Expansion {
  if (frame.hasRun) remember(frame.scope, 'value', { text: frame.value, tainted: frame.valueTainted });
  if (typeof r !== 'string') return r;
  const b = bounded(r);
  return typeof b === 'string' ? { kind: 'ok', text: b, tainted: frame.tainted } : b;
}

/** Templates parsed at run time (`${expand:`, replacement strings), most recent last. */
const cache = new Map<string, Template | TemplateError>();
const maxCached = 2000;
const maxCachedOctets = 4096;

function cachedTemplate(source: string): Template | TemplateError {
  const hit = cache.get(source);
  if (hit !== undefined) return hit;
  const template = parseTemplate(source);
  if (source.length <= maxCachedOctets) {
    if (cache.size >= maxCached) {
      const oldest = cache.keys().next();
      if (oldest.done !== true) cache.delete(oldest.value);
    }
    cache.set(source, template);
  }
  return template;
}

const maxLevels = 20;

function expandInFrame(source: string, frame: Frame): Result<string> {
  if (frame.depth >= maxLevels) return error('expansions are nested too deeply');
  const template = cachedTemplate(source);
  if (template.kind !== 'template') return error(template.reason);
  frame.depth++;
  const r = template.evaluate(frame);
  if (r instanceof Promise)
    return r.then((v) => {
      frame.depth--;
      return v;
    });
  frame.depth--;
  return r;
}
