/** The state of one running expansion: what changes while it runs (`$value`, `$1`, taint). Never shared by two expansions at once. */
import { lastOutput } from './memory.ts';
import type { Result } from './outcome.ts';
import type { ExpandScope } from './scope.ts';

export interface Frame {
  readonly scope: ExpandScope;
  /** True once anything that flowed into the result so far came from the wire. */
  tainted: boolean;
  /** `$value` */
  value: string;
  valueTainted: boolean;
  /** `$item` */
  item: string;
  itemTainted: boolean;
  /** `$0`, `$1`... */
  captures: readonly string[];
  capturesTainted: boolean;
  /** `$prvscheck_address` and `$prvscheck_keynum` inside `${prvscheck`. */
  prvs: { readonly address: string; readonly key: string; readonly tainted: boolean } | undefined;
  /** Regular expression matches so far, and the time that those which were timed took, milliseconds. */
  matches: number;
  matchMs: number;
  /** A command has run: `$value` stays for later expansions. */
  hasRun: boolean;
  /** Levels of `${expand:` so far; bounded. */
  depth: number;
  /** Parses and evaluates a text in this frame (`${expand:`, the replacement of `${sg`). */
  readonly expandText: (source: string, frame: Frame) => Result<string>;
}

const none: readonly string[] = [];

export function createFrame(scope: ExpandScope, expandText: Frame['expandText']): Frame {
  const captures = scope.captures ?? none;
  const value = scope.extra?.get('value') ?? lastOutput(scope);
  return {
    scope,
    tainted: false,
    value: value?.text ?? '',
    valueTainted: value?.tainted ?? false,
    item: '',
    itemTainted: false,
    captures,
    capturesTainted: captures.length > 0,
    hasRun: false,
    matches: 0,
    matchMs: 0,
    prvs: undefined,
    depth: 0,
    expandText,
  };
}
