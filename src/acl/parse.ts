/** Reads ACLs (Exim manual, "Format of an ACL"). Everything wrong is told, each with its place; nothing throws. */
import { constantText, parseTemplate, type Template } from '../expand/expand.ts';
import { taintProblems } from '../expand/taint.ts';
import type { MatchKind } from '../expand/scope.ts';
import { compileList } from '../list/compile.ts';
import type { Diagnostic, SourcePosition, SourceText } from '../mail/diagnostic.ts';
import { positionAt, sliceSource, trimSource } from '../mail/source-text.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';
import type { Acl, Argument, Statement, Step } from './ast.ts';
import { parseControl } from './control.ts';
import { firstLine } from './messages.ts';
import { nearest } from '../mail/suggest.ts';
import {
  conditions,
  modifiers,
  refused,
  stepNames,
  verbs,
  type ConditionName,
  type ListCondition,
  type ModifierName,
  type Verb,
} from './tables.ts';
import { parseConstantVerify } from './verify-test.ts';

/** An ACL's text: logical lines, without comments and blank lines, continuations joined. */
export interface AclSource {
  readonly name: string;
  readonly position: SourcePosition;
  readonly lines: readonly SourceText[];
}

/** Reads one ACL. Statements and steps that are wrong are left out of the result, which must then not be run. */
export function parseAcl(source: AclSource): { acl: Acl; diagnostics: Diagnostic[] } {
  const reader: Reader = { diagnostics: [], statements: [], open: undefined };
  for (const line of source.lines) readLine(reader, trimSource(line));
  return {
    acl: { name: source.name, position: source.position, statements: reader.statements },
    diagnostics: reader.diagnostics,
  };
}

interface OpenStatement extends Statement {
  readonly steps: Step[];
}

interface Reader {
  readonly diagnostics: Diagnostic[];
  readonly statements: OpenStatement[];
  open: OpenStatement | undefined;
}

function complain(reader: Reader, position: SourcePosition, message: string, hint?: string): undefined {
  reader.diagnostics.push({ severity: 'error', position, message, ...(hint === undefined ? {} : { hint }) });
}

const word = /[A-Za-z0-9_]*/y;

function wordAt(text: string, from: number): string {
  word.lastIndex = from;
  return word.exec(text)?.[0] ?? '';
}

function readLine(reader: Reader, line: SourceText): void {
  const first = wordAt(line.text, 0);
  if (!verbs.has(first)) {
    if (reader.open !== undefined) return readStep(reader, reader.open, line);
    const near = nearest(first, verbs);
    return complain(
      reader,
      line.position,
      `unknown ACL verb "${first}" in "${line.text.slice(0, 60)}"`,
      near === undefined ? `expected one of ${[...verbs].join(', ')}` : `did you mean "${near}"?`,
    );
  }
  const statement: OpenStatement = { verb: first as Verb, position: line.position, steps: [] };
  reader.open = statement;
  reader.statements.push(statement);
  const rest = trimSource(sliceSource(line, first.length));
  if (rest.text !== '') readStep(reader, statement, rest);
}

/** One condition or modifier: `!name = value`, `set acl_m0 = value`, `endpass`. */
function readStep(reader: Reader, statement: OpenStatement, source: SourceText): void {
  const negated = source.text.startsWith('!');
  const body = negated ? trimSource(sliceSource(source, 1)) : source;
  const name = wordAt(body.text, 0);
  const { position } = body;
  const condition = conditions.get(name);
  const modifier = modifiers.get(name);
  if (condition === undefined && modifier === undefined) return unknownName(reader, statement, body, name);
  const after = trimSource(sliceSource(body, name.length));
  if (condition !== undefined) {
    const value = valueAfterEquals(reader, after, `"${name}" condition`);
    const step = value && readCondition(reader, condition.name, { name, position, negated }, value);
    if (step !== undefined) statement.steps.push(step);
    return;
  }
  if (modifier === undefined) return;
  if (negated) return complain(reader, position, `negation is not allowed with "${name}"`);
  const step = readModifier(reader, statement.verb, modifier.name, position, after);
  if (step !== undefined) statement.steps.push(step);
}

function unknownName(reader: Reader, statement: OpenStatement, body: SourceText, name: string): void {
  const needs = refused.get(name);
  if (needs !== undefined)
    return complain(
      reader,
      body.position,
      `ACL condition or modifier "${name}" is not supported: it needs ${needs}`,
    );
  const near = nearest(name, [...stepNames, ...verbs]);
  complain(
    reader,
    body.position,
    `unknown ACL condition or modifier "${name === '' ? body.text.slice(0, 20) : name}" in "${statement.verb}"`,
    near === undefined ? undefined : `did you mean "${near}"?`,
  );
}

function valueAfterEquals(reader: Reader, after: SourceText, what: string): SourceText | undefined {
  if (!after.text.startsWith('=')) return complain(reader, after.position, `"=" missing after ACL ${what}`);
  return trimSource(sliceSource(after, 1));
}

interface Head {
  readonly name: string;
  readonly position: SourcePosition;
  readonly negated: boolean;
}

function readCondition(reader: Reader, kind: ConditionName, head: Head, value: SourceText): Step | undefined {
  switch (kind) {
    case 'acl':
      return readAclCall(reader, head, value);
    case 'condition': {
      const template = readTemplate(reader, value);
      return template && { ...head, kind, template };
    }
    case 'verify': {
      const test = readArgument(reader, value, parseConstantVerify);
      return test && { ...head, kind, test };
    }
    case 'authenticated':
    case 'encrypted':
      return readTemplate(reader, value) && { ...head, kind, text: value.text };
    case 'domains':
    case 'hosts':
    case 'local_parts':
    case 'recipients':
    case 'sender_domains':
    case 'senders':
      return readListCondition(reader, kind, head, value);
  }
}

function readListCondition(
  reader: Reader,
  list: ListCondition,
  head: Head,
  value: SourceText,
): Step | undefined {
  const template = readTemplate(reader, value);
  if (template === undefined) return undefined;
  const constant = constantText(template);
  if (constant !== undefined) {
    const { problems } = compileList(listKinds[list], constant, { tainted: false });
    for (const problem of problems) complain(reader, value.position, problem);
    if (problems.length > 0) return undefined;
  }
  return { ...head, kind: 'list', list, text: value.text };
}

/** Which kind of list each condition takes. */
export const listKinds: Readonly<Record<ListCondition, MatchKind>> = {
  domains: 'domain',
  sender_domains: 'domain',
  hosts: 'host',
  local_parts: 'local_part',
  recipients: 'address',
  senders: 'address',
};

/** `acl = name arg ...`: words are parted by spaces before they are expanded. */
function readAclCall(reader: Reader, head: Head, value: SourceText): Step | undefined {
  const words: Template[] = [];
  for (const m of value.text.matchAll(/\S+/g)) {
    const template = readTemplate(reader, sliceSource(value, m.index, m.index + m[0].length));
    if (template === undefined) return undefined;
    words.push(template);
  }
  if (words.length === 0)
    return complain(reader, value.position, 'the name of an ACL is missing after "acl ="');
  if (words.length > 10) return complain(reader, value.position, 'an ACL takes at most 9 arguments');
  return { ...head, kind: 'acl', words };
}

function readModifier(
  reader: Reader,
  verb: Verb,
  kind: ModifierName,
  position: SourcePosition,
  after: SourceText,
): Step | undefined {
  if (kind === 'endpass') {
    if (verb !== 'accept' && verb !== 'discard')
      return complain(reader, position, `"endpass" is not allowed with "${verb}"`);
    if (after.text !== '') return complain(reader, after.position, '"endpass" takes no value');
    return { kind, name: kind, position };
  }
  if (kind === 'set') return readSet(reader, position, after);
  const value = valueAfterEquals(reader, after, `"${kind}" modifier`);
  if (value === undefined) return undefined;
  if (kind === 'delay') {
    const ms = readArgument(reader, value, parseDelay);
    return ms && { kind, name: kind, position, ms };
  }
  if (kind === 'control') {
    const control = readArgument(reader, value, parseControl);
    return control && { kind, name: kind, position, control };
  }
  const template = readTemplate(reader, value);
  return template && { kind, name: kind, position, template };
}

/** Milliseconds, or what is wrong. */
export function parseDelay(text: string): number | string {
  return (
    parseTimeInterval(text) ?? `syntax error in argument for "delay" modifier: "${text}" is not a time value`
  );
}

function readSet(reader: Reader, position: SourcePosition, after: SourceText): Step | undefined {
  const name = /^[^\s=]*/.exec(after.text)?.[0] ?? '';
  const bad = (why: string): undefined =>
    complain(reader, after.position, `invalid variable name "${name}" after "set": ${why}`);
  if (!/^acl_[cm]/.test(name)) return bad('it must start with acl_c or acl_m');
  if (!/^acl_[cm][0-9_]/.test(name)) return bad('a digit or underscore must follow acl_c or acl_m');
  const wrong = /[^A-Za-z0-9_]/.exec(name);
  if (wrong !== null) return bad(`invalid character "${wrong[0]}"`);
  const value = valueAfterEquals(
    reader,
    trimSource(sliceSource(after, name.length)),
    `"set ${name}" modifier`,
  );
  const template = value && readTemplate(reader, value);
  return template && { kind: 'set', name: `set ${name}`, position, variable: name.slice(4), template };
}

function readTemplate(reader: Reader, value: SourceText): Template | undefined {
  const template = parseTemplate(value.text);
  if (template.kind === 'template') {
    for (const { offset, message } of taintProblems(template.ast))
      reader.diagnostics.push({ severity: 'warning', position: positionAt(value, offset), message });
    return template;
  }
  return complain(
    reader,
    positionAt(value, template.offset),
    `malformed expansion: ${firstLine(template.reason)}`,
  );
}

/** Reads a value now where it does not need expansion, so that mistakes show before any mail comes. */
function readArgument<T>(
  reader: Reader,
  value: SourceText,
  read: (text: string) => T | string,
): Argument<T> | undefined {
  const template = readTemplate(reader, value);
  if (template === undefined) return undefined;
  const constant = constantText(template);
  if (constant === undefined) return { kind: 'expanded', template };
  const known = read(constant);
  return typeof known === 'string'
    ? complain(reader, value.position, known)
    : { kind: 'known', value: known };
}
