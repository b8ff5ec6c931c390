/** The state of one running expansion: what changes while it runs (`$value`, `$1`, taint). Never shared by two expansions at once. */
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
  /** `$runrc` and the like: variables an item sets for the rest of the expansion. */
  readonly set: Map<string, string>;
  /** Levels of `${expand:` and named wildlsearch keys; bounded. */
  depth: number;
  /** Parses and evaluates a text in this frame (`${expand:`, the replacement of `${sg`). */
  expandText(source: string): Result<string>;
}

const none: readonly string[] = [];

export function createFrame(scope: ExpandScope, expandText: (source: string, frame: Frame) => Result<string>): Frame {
  const captures = scope.captures ?? none;
  const frame: Frame = {
    scope,
    tainted: false,
    value: '',
    valueTainted: false,
    item: '',
    itemTainted: false,
    captures,
    capturesTainted: captures.length > 0,
    set: noVariables,
    depth: 0,
    expandText: (source) => expandText(source, frame),
  };
  return frame;
}
