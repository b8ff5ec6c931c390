/** `-be` and `-bem`: expansions typed in or given as arguments (Exim manual, "-be"). */
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { createMacros, type Macros } from '../config/macros.ts';
import { expandText } from '../expand/expand.ts';
import type { BodyFacts, ExpandScope, ExtraValue, MessageFacts } from '../expand/scope.ts';
import { parseHeaderFields } from '../mail/headers.ts';
import { withTestedAclCalls } from './acl-test-calls.ts';
import { commandSender, noMessage } from './no-message.ts';
import type { Program } from './program.ts';
import { errorText } from '../mail/error-text.ts';

/** Longest line that is read from standard input, continuation lines included. */
const maxLineOctets = 1024 * 1024;

export interface ExpandCommand {
  /** What to expand; without any, lines of standard input. */
  readonly words: readonly string[];
  /** -bem: a file with a message that expansions may look at. */
  readonly messageFile?: string;
}

/** Prints the value of each text, or `Failed: ` and why; the exit status is 0 for both, as with Exim. */
export async function runExpandCommand(
  program: Program,
  command: ExpandCommand,
  input: Readable,
  output: Writable,
): Promise<number> {
  const facts = command.messageFile === undefined ? undefined : readMessage(command.messageFile);
  if (typeof facts === 'string') {
    console.error(`exim: ${facts}`);
    return 1;
  }
  const scope = expandScope(program, facts);
  const macros = macrosOf(program);
  const print = (text: string): void => void output.write(text, 'latin1');
  for (const word of command.words) print(await testLine(octets(word), macros, scope));
  if (command.words.length > 0) return 0;
  print('> ');
  for await (const line of lines(input)) print(`${await testLine(line, macros, scope)}> `);
  print('\n');
  return 0;
}

function macrosOf({ model }: Program): Macros {
  const isBuiltIn = (name: string): boolean => name.startsWith('_');
  const names = model.macros.map((m) => m.name);
  const macros = createMacros(names.filter(isBuiltIn), new Map());
  for (const { name, text } of model.macros) if (!isBuiltIn(name)) macros.define(name, text, false);
  return macros;
}

/** Macros are replaced first, and a line that then begins with a capital defines one. Gives what is printed. */
async function testLine(line: string, macros: Macros, scope: ExpandScope): Promise<string> {
  const name = /^[A-Z]\w*(?=\s*=)/.exec(line)?.[0] ?? '';
  const replaced = macros.replace(line, name.length);
  if (typeof replaced === 'string') return complain(replaced);
  const { text } = replaced;
  if (!/^[A-Z]/.test(text)) return `${await answer(text, scope)}\n`;
  const found = /^([A-Z]\w*)\s*(==?)\s*([^]*)$/.exec(text);
  if (found === null) return complain('malformed macro definition');
  const wrong = macros.define(found[1] ?? '', found[3] ?? '', found[2] === '==');
  return wrong === undefined ? `Defined macro '${found[1]}'\n` : complain(wrong);
}

function complain(text: string): string {
  console.error(`exim: ${text}`);
  return '';
}

async function answer(text: string, scope: ExpandScope): Promise<string> {
  const r = await expandText(text, scope);
  return r.kind === 'ok' ? r.text : `Failed: ${r.reason}`;
}

function octets(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Lines without white space at their end; a backslash there joins the next line, whose leading white space goes. */
async function* lines(input: Readable): AsyncGenerator<string> {
  let pending = '';
  let joined: string | undefined;
  const take = (line: string): string | undefined => {
    const text = (joined === undefined ? line : line.trimStart()).replace(/\s+$/, '');
    const whole = (joined ?? '') + text;
    joined = whole.endsWith('\\') && whole.length < maxLineOctets ? whole.slice(0, -1) : undefined;
    return joined === undefined ? whole : undefined;
  };
  for await (const chunk of input) {
    const parts = (pending + (chunk as Buffer).toString('latin1')).split('\n');
    pending = (parts.pop() ?? '').slice(0, maxLineOctets);
    for (const part of parts) {
      const line = take(part);
      if (line !== undefined) yield line;
    }
  }
  const last = pending === '' ? undefined : take(pending);
  if (last !== undefined || joined !== undefined) yield last ?? joined ?? '';
}

interface MessageText {
  readonly headers: string;
  readonly body: string;
  readonly size: number;
}

function readMessage(file: string): MessageText | string {
  try {
    const text = readFileSync(file, 'latin1').replace(/\r\n/g, '\n');
    const end = text.startsWith('\n') ? 0 : text.indexOf('\n\n');
    return {
      headers: (end < 0 ? text : text.slice(0, end + 1)).replaceAll('\n', '\r\n'),
      body: end < 0 ? '' : text.slice(end === 0 ? 1 : end + 2),
      size: text.length,
    };
  } catch (e) {
    return `failed to open ${file}: ${errorText(e)}`;
  }
}

/** Nobody is connected: the sender is the user who runs the command. */
function expandScope(program: Program, text: MessageText | undefined): ExpandScope {
  const { main } = program;
  const { username } = userInfo();
  const fields = text === undefined ? undefined : parseHeaderFields(text.headers);
  const message: MessageFacts = {
    ...noMessage(commandSender(undefined, main.qualifyDomain)),
    ...(text === undefined ? {} : { size: text.size, receivedAtMs: Date.now() }),
    ...(fields === undefined ? {} : { headers: () => fields }),
    ...(text === undefined ? {} : { body: () => bodyFacts(text, main.messageBodyVisible ?? 500) }),
  };
  const extra = new Map<string, ExtraValue>();
  const set = (name: string, value: string, tainted = false): void =>
    void extra.set(name, { text: value, tainted });
  set('sender_ident', username);
  set('authenticated_id', username);
  set('authenticated_sender', `${username}@${main.qualifyDomain}`);
  return {
    main,
    message,
    extra,
    services: withTestedAclCalls(program),
  };
}

function bodyFacts({ headers, body }: MessageText, visibleOctets: number): BodyFacts {
  const all = `${headers.replaceAll('\r', '')}\n${body}`.split('\n');
  return {
    start: body.slice(0, visibleOctets),
    end: visibleOctets === 0 ? '' : body.slice(-visibleOctets),
    octets: body.length,
    lines: body.split('\n').length - 1,
    zeroOctets: body.split('\0').length - 1,
    longestLine: Math.max(...all.map((l) => l.length)),
    blankLine: true,
  };
}
