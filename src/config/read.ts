/** From a configuration file to a checked model (Exim manual, "The Exim runtime configuration file"). */
import { readFileSync, statSync } from 'node:fs';
import type { MatchKind } from '../expand/scope.ts';
import type { Diagnostic, SourceText } from '../mail/diagnostic.ts';
import { builtInMacros } from './built-in.ts';
import { checkModel } from './check.ts';
import type { Checked } from './checked.ts';
import { type AnyInstance, readInstances } from './drivers.ts';
import { interpret, valuesOf } from './interpret.ts';
import { createLineReader, reasonOf } from './lines.ts';
import { createMacros } from './macros.ts';
import type {
  AclText,
  ConfigModel,
  DirectoryInstance,
  NamedList,
  RouterInstance,
  StoreInstance,
  TransportInstance,
} from './model.ts';
import {
  aliases,
  authenticatorSection,
  directorySection,
  mainOptions,
  routerSection,
  storeSection,
  transportSection,
} from './options/tables.ts';
import { createReport, type Report } from './report.ts';
import { readSections, type Sections } from './sections.ts';

export interface ReadOptions {
  /** Macros from `-D` on the command line. */
  readonly defines?: ReadonlyMap<string, string>;
  /** Built-in macros besides those of the option tables: of ACLs, say. */
  readonly builtIn?: readonly string[];
  /** Gives a file's content with one octet a character; throws as node:fs does. Default: the file system, at most 16 MiB. */
  readonly readFile?: (path: string) => string;
}

/** What `-bP config` prints: a logical line, or the place from which those after it come. */
export type ConfigLine = { readonly text: string } | { readonly file: string; readonly line: number };

export interface ReadResult {
  /** Absent where there are errors. */
  readonly model: ConfigModel | undefined;
  /** What was read, errors or not, for checks that look further; absent where the file could not be opened. */
  readonly checked: Checked | undefined;
  /** Macros replaced, conditionals decided, inclusions followed, comments gone. */
  readonly lines: readonly ConfigLine[];
  /** All that is wrong, and warnings and notes, in the order of the files. */
  readonly diagnostics: Diagnostic[];
  /** Physical lines of every file that was read, for formatWithSource. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
}

/** Reads and checks. Never throws for what a file contains or for a file that cannot be read. */
export function readConfig(file: string, options: ReadOptions = {}): ReadResult {
  const report = createReport();
  const sources = new Map<string, readonly string[]>();
  const readFile = options.readFile ?? readPlainFile;
  let text: string;
  try {
    text = readFile(file);
  } catch (error) {
    report.error({ file, line: 1, column: 1 }, `failed to open configuration file ${file}`, reasonOf(error));
    const diagnostics = [...report.diagnostics];
    return { model: undefined, checked: undefined, lines: [], diagnostics, sources };
  }
  const macros = createMacros([...builtInMacros(), ...(options.builtIn ?? [])], options.defines ?? new Map());
  const onFile = (name: string, lines: readonly string[]): void => void sources.set(name, lines);
  const lines: ConfigLine[] = [{ file, line: 1 }];
  const onPlace = (name: string, line: number): void => void lines.push({ file: name, line });
  const reader = createLineReader(file, text, { macros, report, readFile, onFile, onPlace });
  const next = (): SourceText | undefined => {
    const line = reader.next();
    if (line !== undefined) lines.push({ text: line.text });
    return line;
  };
  const sections = readSections({ next }, macros, report);
  const checked = build(file, sections, report);
  const names = {
    routers: sections.routers.map((r) => r.name),
    transports: sections.transports.map((t) => t.name),
    directories: sections.directories.map((d) => d.name),
  };
  const whole = { ...checked, macros: macros.list() };
  checkModel(whole, names, report);
  return {
    // readInstances made the instances from the tables that the types are taken from.
    model: report.failed()
      ? undefined
      : {
          ...whole,
          routers: checked.routers as readonly unknown[] as readonly RouterInstance[],
          transports: checked.transports as readonly unknown[] as readonly TransportInstance[],
          stores: checked.stores as readonly unknown[] as readonly StoreInstance[],
          directories: checked.directories as readonly unknown[] as readonly DirectoryInstance[],
        },
    checked: whole,
    lines,
    diagnostics: inFileOrder(report.diagnostics, sources),
    sources,
  };
}

type Built = Omit<
  Checked,
  'routers' | 'transports' | 'authenticators' | 'stores' | 'directories' | 'macros'
> & {
  readonly routers: readonly AnyInstance[];
  readonly transports: readonly AnyInstance[];
  readonly authenticators: readonly AnyInstance[];
  readonly stores: readonly AnyInstance[];
  readonly directories: readonly AnyInstance[];
};

function build(file: string, sections: Sections, report: Report): Built {
  const mainGiven = interpret(
    sections.main,
    {
      what: 'main option',
      find: (name) =>
        Object.hasOwn(mainOptions, name) ? mainOptions[name as keyof typeof mainOptions] : undefined,
      resolve: (name) => aliases.main.get(name) ?? [name],
      names: Object.keys(mainOptions),
      checkStatus: true,
    },
    report,
  );
  return {
    file,
    main: valuesOf(mainOptions, mainGiven),
    mainGiven,
    lists: {
      domain: named(sections.lists, 'domain'),
      host: named(sections.lists, 'host'),
      address: named(sections.lists, 'address'),
      local_part: named(sections.lists, 'local_part'),
    },
    acls: new Map(sections.acls.map((acl): [string, AclText] => [acl.name, acl])),
    routers: readInstances(routerSection, sections.routers, report),
    transports: readInstances(transportSection, sections.transports, report),
    authenticators: readInstances(authenticatorSection, sections.authenticators, report),
    stores: readInstances(storeSection, sections.stores, report),
    directories: readInstances(directorySection, sections.directories, report),
    retry: sections.retry,
    rewrite: sections.rewrite,
  };
}

function named(lists: readonly NamedList[], kind: MatchKind): ReadonlyMap<string, NamedList> {
  return new Map(lists.filter((l) => l.kind === kind).map((l) => [l.name, l]));
}

/** By file as first read, then by line; what stands at one line keeps the order in which it was found. */
export function inFileOrder(
  diagnostics: readonly Diagnostic[],
  sources: ReadonlyMap<string, unknown>,
): Diagnostic[] {
  const order = new Map([...sources.keys()].map((name, i) => [name, i]));
  const rank = (d: Diagnostic): number => order.get(d.position.file) ?? order.size;
  return diagnostics.toSorted((a, b) => rank(a) - rank(b) || a.position.line - b.position.line);
}

const maxFileBytes = 16 * 1024 * 1024;

function readPlainFile(path: string): string {
  const info = statSync(path);
  if (!info.isFile()) throw new Error('not a regular file');
  if (info.size > maxFileBytes) throw new Error(`larger than ${maxFileBytes} octets`);
  return readFileSync(path, 'latin1');
}
