/** An access control list as read (Exim manual, "Format of an ACL"). */
import type { Template } from '../expand/expand.ts';
import type { SourcePosition } from '../mail/diagnostic.ts';
import type { AclControl } from './control.ts';
import type { ListCondition, Verb } from './tables.ts';
import type { VerifyTest } from './verify-test.ts';

export interface Acl {
  readonly name: string;
  readonly position: SourcePosition;
  readonly statements: readonly Statement[];
}

export interface Statement {
  readonly verb: Verb;
  readonly position: SourcePosition;
  /** Conditions and modifiers in their order, which matters. */
  readonly steps: readonly Step[];
}

interface Common {
  /** As written, for messages: `domains`, `set acl_m0`. */
  readonly name: string;
  readonly position: SourcePosition;
}

interface Negatable extends Common {
  readonly negated: boolean;
}

/** An argument that is known when the file is read, or only once it is expanded. */
export type Argument<T> =
  | { readonly kind: 'known'; readonly value: T }
  | { readonly kind: 'expanded'; readonly template: Template };

export type Condition = Negatable &
  (
    | { readonly kind: 'list'; readonly list: ListCondition; readonly text: string }
    | { readonly kind: 'condition'; readonly template: Template }
    | { readonly kind: 'verify'; readonly test: Argument<VerifyTest> }
    /** The name or text of the ACL, then its arguments. */
    | { readonly kind: 'acl'; readonly words: readonly Template[] }
    | { readonly kind: 'authenticated' | 'encrypted'; readonly text: string }
  );

/** Expanded only when the statement ends. */
export type MessageModifier = Common &
  (
    | { readonly kind: 'message'; readonly template: Template }
    | { readonly kind: 'log_message'; readonly template: Template }
  );

/** Marks where failing conditions begin to mean denial. */
export interface Endpass extends Common {
  readonly kind: 'endpass';
}

/** Obeyed as soon as it is met. */
export type ImmediateModifier = Common &
  (
    | {
        readonly kind: 'logwrite' | 'continue' | 'add_header' | 'remove_header' | 'log_reject_target';
        readonly template: Template;
      }
    /** `variable` is `c0`, `m_name`. */
    | { readonly kind: 'set'; readonly variable: string; readonly template: Template }
    | { readonly kind: 'delay'; readonly ms: Argument<number> }
    | { readonly kind: 'control'; readonly control: Argument<AclControl> }
  );

export type Step = Condition | MessageModifier | Endpass | ImmediateModifier;
