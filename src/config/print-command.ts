/** `exim -bP` with what was asked for (Exim manual, "-bP"). */
import type { ConfigModel } from './model.ts';
import type { SectionKind } from './options/tables.ts';
import { printLines } from './print-lines.ts';
import {
  type PrintedSection,
  type PrintFor,
  printInstance,
  printInstances,
  printMain,
  printMainOption,
  printNamedLists,
  sectionOf,
} from './print-model.ts';
import type { ConfigLine } from './read.ts';

export interface PrintRequest extends PrintFor {
  /** What stands after `-bP`. */
  readonly words: readonly string[];
  /** Of this process, already reduced by `keep_environment`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Lines for the standard output and for the standard error output. */
export interface Printed {
  readonly out: readonly string[];
  readonly err: readonly string[];
  /** Something asked for does not exist or may not be seen. */
  readonly failed: boolean;
}

const none: Printed = { out: [], err: [], failed: false };
const ok = (out: readonly string[]): Printed => ({ ...none, out });
const notFound = (text: string): Printed => ({ ...none, out: [text], failed: true });

const kinds: readonly SectionKind[] = ['router', 'transport', 'authenticator', 'store', 'directory'];

/** @param lines what {@link readConfig} gave with the model */
export function printConfiguration(
  model: ConfigModel,
  lines: readonly ConfigLine[],
  ask: PrintRequest,
): Printed {
  const { words } = ask;
  if (words.length === 0) return ok(printMain(model, ask));
  const answers: Printed[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    const kind = kinds.find((k) => k === word);
    const name = words[i + 1];
    if (name !== undefined && (kind !== undefined || word === 'macro')) {
      i++;
      answers.push(kind === undefined ? printMacro(model, name, ask) : printOne(model, kind, name, ask));
    } else answers.push(printWord(model, lines, word, ask));
  }
  return {
    out: answers.flatMap((a) => a.out),
    err: answers.flatMap((a) => a.err),
    failed: answers.some((a) => a.failed),
  };
}

function printOne(model: ConfigModel, kind: SectionKind, name: string, ask: PrintRequest): Printed {
  const found = printInstance(model, sectionOf[kind], name, ask);
  return found === undefined ? notFound(`${kind} ${name} not found`) : ok(found);
}

function printWord(
  model: ConfigModel,
  lines: readonly ConfigLine[],
  word: string,
  ask: PrintRequest,
): Printed {
  if (word.startsWith('+')) {
    const name = word.slice(1);
    const found = printNamedLists(model, name, ask);
    return found.length > 0
      ? ok(found)
      : notFound(`no address, domain, host, or local part list called "${name}" exists`);
  }
  const section = sectionNamed(word);
  if (section !== undefined) return ok(printInstances(model, section, ask));
  const listed = word.endsWith('_list') ? sectionNamed(`${word.slice(0, -5)}s`) : undefined;
  if (listed !== undefined) return ok(model[listed].map((instance) => instance.name));
  switch (word) {
    case 'all':
      return ok(printMain(model, ask));
    case 'config_file':
    case 'configure_file':
      return ok([model.file]);
    case 'config':
      return ok(printLines(lines, ask));
    case 'local_scan':
      return notFound('local_scan() options are not supported');
    case 'macros':
    case 'macro_list':
      if (!ask.admin) return denied;
      return ok(model.macros.map((m) => (word === 'macros' ? macroLine(m, ask) : m.name)));
    case 'environment':
      return ok(environmentLines(ask));
  }
  const line = printMainOption(model, word, ask);
  return line === undefined ? notFound(`${word} is not a known option`) : ok([line]);
}

function sectionNamed(word: string): PrintedSection | undefined {
  return Object.values(sectionOf).find((section) => section === word);
}

/** Macros may hold passwords, so they are not for everybody (Exim manual, "-bP"). */
const denied: Printed = { out: [], err: ['exim: permission denied'], failed: true };

function printMacro(model: ConfigModel, name: string, ask: PrintRequest): Printed {
  if (!ask.admin) return denied;
  const macro = model.macros.find((m) => m.name === name);
  return macro === undefined ? notFound(`macro ${name} not found`) : ok([macroLine(macro, ask)]);
}

function macroLine({ name, text }: { readonly name: string; readonly text: string }, ask: PrintFor): string {
  return ask.withoutNames ? text : `${name}=${text}`;
}

function environmentLines({ environment, withoutNames }: PrintRequest): string[] {
  return Object.entries(environment)
    .flatMap(([name, value]) => (value === undefined ? [] : [withoutNames ? name : `${name}=${value}`]))
    .toSorted();
}
