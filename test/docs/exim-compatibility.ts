// The parts of docs/exim-compatibility.md that stand between `<!-- generated: name -->` and `<!-- end -->`: what the tables
// of the program say. The rest of the file is written by hand.
import { listControls } from '../../src/acl/control.ts';
import { conditions, modifiers, refused as refusedSteps, verbs } from '../../src/acl/tables.ts';
import { logSelectorNames, obeyedLogSelectors } from '../../src/config/log-selector.ts';
import {
  listAliases,
  listDrivers,
  listOptions,
  type DriverRow,
  type OptionRow,
} from '../../src/config/reference.ts';
import { conditionTable, refusedConditions } from '../../src/expand/conditions/table.ts';
import { itemTable, refusedItems } from '../../src/expand/items/table.ts';
import { listLookupTypes } from '../../src/expand/lookup-type.ts';
import { operatorNames } from '../../src/expand/operators/table.ts';
import { variableNames } from '../../src/expand/variables.ts';
import { unsetVariables } from '../../src/expand/variables/unset.ts';
import { expansionDifferences } from '../interop/expand-differences.ts';

/** Replaces every generated part of the document. Throws for a mark whose name is unknown, or a part without a mark. */
export function withGeneratedParts(document: string): string {
  const left = new Set(Object.keys(parts));
  const text = document.replace(
    /(<!-- generated: (\S+) -->\n).*?(<!-- end -->)/gs,
    (_, begin: string, name: string, end: string) => {
      const part = parts[name];
      if (part === undefined) throw new Error(`no generated part ${name}`);
      left.delete(name);
      return `${begin}${part()}\n${end}`;
    },
  );
  if (left.size > 0) throw new Error(`no place for the generated parts ${[...left].join(', ')}`);
  return text;
}

const parts: Readonly<Record<string, () => string>> = {
  'main-options': () => optionGroups('main'),
  unset: () =>
    names(
      listOptions()
        .filter((o) => o.section === 'main' && !hasAcceptedDefault(o))
        .map((o) => o.name),
    ),
  aliases: () =>
    table(
      ['name', 'means'],
      listAliases().map(({ name, means }) => [code(name), means.map(code).join(' ')]),
    ),
  drivers: () =>
    table(
      ['driver', 'kind', ''],
      listDrivers()
        .filter((d) => d.section !== 'store' && d.section !== 'directory')
        .map((d) => [code(d.name), d.section, driverStanding(d)]),
    ),
  routers: () => optionGroups('routers'),
  manualroute: () => optionGroups('router manualroute'),
  dnslookup: () => optionGroups('router dnslookup'),
  redirect: () => optionGroups('router redirect'),
  transports: () => optionGroups('transports'),
  smtp: () => optionGroups('transport smtp'),
  lmtp: () => optionGroups('transport lmtp'),
  appendfile: () => optionGroups('transport appendfile'),
  pipe: () => optionGroups('transport pipe'),
  autoreply: () => optionGroups('transport autoreply'),
  authenticators: () => optionGroups('authenticators', ...workingAuthenticators()),
  'at-start': () =>
    names(
      listOptions()
        .filter((o) => o.status === 'works' && o.type.endsWith('at start'))
        .map((o) => o.name),
    ),
  stores: () => ownSection('stores', 'store'),
  directories: () => ownSection('directories', 'directory'),
  acl: () =>
    table(
      ['', 'work', 'refused'],
      [
        ['verbs', names(verbs), ''],
        [
          'conditions and modifiers',
          names([...conditions.keys(), ...modifiers.keys()]),
          names(refusedSteps.keys()),
        ],
        ['`control =`', names(controls(true)), names(controls(false))],
      ],
    ),
  expansion: () =>
    table(
      ['', 'work', 'refused'],
      [
        [
          'items',
          names([...itemTable.keys()].filter((n) => refusedItems[n] === undefined)),
          names(Object.keys(refusedItems)),
        ],
        ['operators', names(operatorNames()), ''],
        [
          'conditions',
          names([...conditionTable.keys()].filter((n) => refusedConditions[n] === undefined)),
          names(Object.keys(refusedConditions)),
        ],
      ],
    ),
  variables: () =>
    wrapped(
      variableNames()
        .filter((n) => !isUnset(n))
        .map(code)
        .toSorted(),
    ),
  'unset-variables': () => wrapped(variableNames().filter(isUnset).map(code).toSorted()),
  'expansion-differences': () =>
    table(
      ['why', 'for instance'],
      [...Map.groupBy(expansionDifferences, (d) => d.reason)].map(([why, differences]) => [
        escaped(why),
        differences.map((d) => code(d.expression)).join('<br>'),
      ]),
    ),
  lookups: () =>
    table(
      ['', 'work', 'refused'],
      (['single-key', 'query'] as const).map((style) => {
        const ofStyle = listLookupTypes().filter((t) => t.style === style);
        return [
          style,
          names(ofStyle.filter((t) => t.available).map((t) => t.name)),
          names(ofStyle.filter((t) => !t.available).map((t) => t.name)),
        ];
      }),
    ),
  'log-selectors': () =>
    wrapped([...new Set(logSelectorNames)].filter((n) => !obeyedLogSelectors.some((o) => o === n)).map(code)),
};

function controls(works: boolean): string[] {
  return listControls()
    .filter((c) => c.works === works)
    .map((c) => c.name);
}

function driverStanding(d: DriverRow): string {
  if (d.refused !== undefined) return `refused: ${escaped(d.refused)}`;
  return d.section === 'authenticator' ? 'read, but nobody uses it' : 'works';
}

function workingAuthenticators(): string[] {
  return listDrivers()
    .filter((d) => d.section === 'authenticator' && d.refused === undefined)
    .map((d) => `authenticator ${d.name}`);
}

/** Set by conditions of ACLs, although their rows stand with the unset ones. */
const setByAcls = new Set(['host_data', 'recipient_data', 'sender_data']);

function isUnset(name: string): boolean {
  return unsetVariables[name] !== undefined && !setByAcls.has(name);
}

/** An option that takes only some values, and whose default is not among them: unset, it is not done. */
function hasAcceptedDefault(o: OptionRow): boolean {
  if (o.status !== 'only some values') return true;
  return o.default === undefined
    ? acceptedValues(o).includes('empty')
    : acceptedValues(o).includes(code(o.default));
}

function acceptedValues(o: OptionRow): readonly string[] {
  return (o.note ?? '').replace(/: .*/s, '').split(', ');
}

/** Options of a section that Exim does not have: those of all its drivers, then each driver's own. */
function ownSection(section: string, kind: string): string {
  const driverOf = (o: OptionRow): string => (o.section === section ? '' : o.section.slice(kind.length + 1));
  return table(
    ['option', 'driver', 'type', 'default'],
    listOptions()
      .filter((o) => (o.section === section || o.section.startsWith(`${kind} `)) && o.status === 'works')
      .map((o) => [code(o.name), driverOf(o), o.type, o.default === undefined ? '' : code(o.default)]),
  );
}

/** The options of some sections by what becomes of them. */
function optionGroups(...sections: readonly string[]): string {
  const options = listOptions().filter((o) => sections.includes(o.section));
  if (options.length === 0) throw new Error(`no options of ${sections.join(', ')}`);
  const works = options.filter((o) => o.status === 'works').map((o) => code(o.name));
  const some = options
    .filter((o) => o.status === 'only some values')
    .map((o) => [code(o.name), acceptedValues(o).join(', '), escaped((o.note ?? '').replace(/^.*?: /s, ''))]);
  return [
    works.length > 0 ? `Work:\n\n${wrapped(works)}` : '',
    some.length > 0 ? table(['takes only', 'these values', 'why'], some) : '',
    byReason(options, 'ignored', 'accepted without effect'),
    byReason(options, 'refused', 'refused'),
  ]
    .filter((t) => t !== '')
    .join('\n\n');
}

function byReason(options: readonly OptionRow[], status: OptionRow['status'], title: string): string {
  const groups = Map.groupBy(
    options.filter((o) => o.status === status),
    (o) => o.note ?? '',
  );
  if (groups.size === 0) return '';
  return table(
    [title, 'why'],
    [...groups].map(([why, rows]) => [names(rows.map((o) => o.name)), escaped(why)]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`.replaceAll('|  |', '| |');
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function names(all: Iterable<string>): string {
  return [...all].map(code).join(' ');
}

/** Words in lines of at most 130 characters. */
function wrapped(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < 130) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}

function code(text: string): string {
  return text.includes('`') ? `\`\` ${pipes(text)} \`\`` : `\`${pipes(text)}\``;
}

/** A bar would end a table's cell. */
function pipes(text: string): string {
  return text.replaceAll('|', '\\|');
}

function escaped(text: string): string {
  return pipes(text).replace(/[<_*]/g, '\\$&');
}
