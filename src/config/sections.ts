/**
 * Splits a configuration into its sections (Exim manual, "Configuration file format"): settings, named lists, ACLs, driver
 * instances, rules. Says what is malformed and goes on with the next line.
 */
import type { SourcePosition, SourceText } from '../mail/diagnostic.ts';
import { positionAt, sliceSource } from '../mail/source-text.ts';
import { isUpper, type Macros } from './macros.ts';
import type { LineReader } from './lines.ts';
import type { AclText, NamedList } from './model.ts';
import { lexNamedList } from './named-list.ts';
import type { Report } from './report.ts';
import { lexMacroDefinition, lexSetting, nameAt, type Setting, skipSpace } from './setting.ts';
import { didYouMean } from '../mail/suggest.ts';

/** A driver instance before its options are known to be right. */
export interface RawInstance {
  readonly name: string;
  readonly position: SourcePosition;
  readonly settings: readonly Setting[];
}

export interface Sections {
  readonly main: readonly Setting[];
  readonly lists: readonly NamedList[];
  readonly acls: readonly AclText[];
  readonly routers: readonly RawInstance[];
  readonly transports: readonly RawInstance[];
  readonly authenticators: readonly RawInstance[];
  readonly stores: readonly RawInstance[];
  readonly directories: readonly RawInstance[];
  readonly retry: readonly SourceText[];
  readonly rewrite: readonly SourceText[];
}

interface OpenInstance extends RawInstance {
  readonly settings: Setting[];
}

interface OpenAcl extends AclText {
  readonly lines: SourceText[];
}

/** Takes one line of a section. */
type TakeLine = (line: SourceText) => void;

export function readSections(reader: LineReader, macros: Macros, report: Report): Sections {
  const main: Setting[] = [];
  const lists: NamedList[] = [];
  const acls: OpenAcl[] = [];
  const routers: OpenInstance[] = [];
  const transports: OpenInstance[] = [];
  const authenticators: OpenInstance[] = [];
  const stores: OpenInstance[] = [];
  const directories: OpenInstance[] = [];
  const retry: SourceText[] = [];
  const rewrite: SourceText[] = [];

  const define = (line: SourceText): boolean => {
    const definition = lexMacroDefinition(line.text);
    if (definition === undefined) return false;
    const wrong = macros.define(definition.name, definition.text, definition.redefine);
    if (wrong !== undefined) report.error(line.position, wrong);
    return true;
  };

  const takeMain: TakeLine = (line) => {
    if (isUpper(line.text[0])) {
      if (!define(line))
        report.error(
          line.position,
          'malformed macro definition',
          'NAME = text, or an option in small letters',
        );
      return;
    }
    const list = lexNamedList(line, report);
    if (list === 'malformed') return;
    if (list !== undefined) {
      if (lists.some((l) => l.kind === list.kind && l.name === list.name))
        report.error(
          list.position,
          `duplicate name "${list.name}" for a named ${list.kind.replace('_', ' ')} list`,
        );
      else lists.push(list);
      return;
    }
    takeSetting(line, main, report);
  };

  const drivers = (kind: string, instances: OpenInstance[]): TakeLine => {
    let current: OpenInstance | undefined;
    let complained = false;
    return (line) => {
      if (define(line)) {
        current = undefined;
        return;
      }
      const label = lexLabel(line);
      if (label !== undefined) {
        complained = false;
        if (label.rest !== undefined)
          report.error(label.rest.position, `extra characters follow driver name ${label.name}`);
        if (instances.some((i) => i.name === label.name))
          report.error(line.position, `there are two ${plural(kind)} called "${label.name}"`);
        current = { name: label.name, position: line.position, settings: [] };
        instances.push(current);
      } else if (current !== undefined) takeSetting(line, current.settings, report);
      else if (!complained) {
        complained = true;
        report.error(
          line.position,
          `${kind} name missing`,
          'a name is letters, digits and underscores, then a colon',
        );
      }
    };
  };

  const takeAcl = (): TakeLine => {
    let current: OpenAcl | undefined;
    let complained = false;
    return (line) => {
      if (define(line)) {
        current = undefined;
        return;
      }
      const label = lexLabel(line);
      if (label !== undefined) {
        complained = false;
        if (acls.some((a) => a.name === label.name))
          report.error(line.position, `there are two ACLs called "${label.name}"`);
        current = {
          name: label.name,
          position: line.position,
          lines: label.rest === undefined ? [] : [label.rest],
        };
        acls.push(current);
      } else if (current !== undefined) current.lines.push(line);
      else if (!complained) {
        complained = true;
        report.error(
          line.position,
          'missing or malformed ACL name',
          'a name is letters, digits and underscores, then a colon',
        );
      }
    };
  };

  const skip: TakeLine = () => undefined;
  const sections: Readonly<Record<string, () => TakeLine>> = {
    acl: takeAcl,
    authenticators: () => drivers('authenticator', authenticators),
    directories: () => drivers('directory', directories),
    local_scan: () => skip,
    retry: () => (line) => void retry.push(line),
    rewrite: () => (line) => void rewrite.push(line),
    routers: () => drivers('router', routers),
    stores: () => drivers('store', stores),
    transports: () => drivers('transport', transports),
  };
  const seen = new Set<string>();

  const begin = (line: SourceText): TakeLine => {
    const at = skipSpace(line.text, 6);
    const written = line.text.slice(at);
    const name = written.toLowerCase();
    const place = positionAt(line, at);
    const start = Object.hasOwn(sections, name) ? sections[name] : undefined;
    if (start === undefined) {
      report.error(
        place,
        `"${written}" is not a known configuration section name`,
        didYouMean(name, Object.keys(sections)),
      );
      return skip;
    }
    if (seen.has(name)) {
      report.error(place, `"${written}" section is repeated in the configuration file`);
      return skip;
    }
    seen.add(name);
    if (name === 'local_scan')
      report.error(place, 'local_scan() options not supported', 'there is no local_scan()');
    return start();
  };

  let take = takeMain;
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    if (line.text.slice(0, 6).toLowerCase() === 'begin ') take = begin(line);
    else take(line);
  }
  return { main, lists, acls, routers, transports, authenticators, stores, directories, retry, rewrite };
}

function plural(kind: string): string {
  return kind === 'directory' ? 'directories' : `${kind}s`;
}

function takeSetting(line: SourceText, settings: Setting[], report: Report): void {
  const setting = lexSetting(line);
  if (setting !== undefined) settings.push(setting);
  else report.error(line.position, `option setting expected: ${line.text.slice(0, 60)}`);
}

/** `name:` at the begin of a line, with what follows it. */
function lexLabel(
  line: SourceText,
): { readonly name: string; readonly rest: SourceText | undefined } | undefined {
  const name = nameAt(line.text, 0);
  if (name === '') return undefined;
  const colon = skipSpace(line.text, name.length);
  if (line.text[colon] !== ':') return undefined;
  const after = skipSpace(line.text, colon + 1);
  return { name, rest: after < line.text.length ? sliceSource(line, after) : undefined };
}
