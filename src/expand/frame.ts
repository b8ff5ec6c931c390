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
  /** Levels of `${expand:` so far; bounded. */
  depth: number;
  /** Parses and evaluates a text in this frame (`${expand:`, the replacement of `${sg`). */
  readonly expandText: (source: string, frame: Frame) => Result<string>;
}

const none: readonly string[] = [];

export function createFrame(scope: ExpandScope, expandText: Frame['expandText']): Frame {
  const captures = scope.captures ?? none;
  const value = scope.extra?.get('value');
  return {
    scope,
    tainted: false,
    value: value?.text ?? '',
    valueTainted: value?.tainted ?? false,
    item: '',
    itemTainted: false,
    captures,
    capturesTainted: captures.length > 0,
    depth: 0,
    expandText,
  };
}
