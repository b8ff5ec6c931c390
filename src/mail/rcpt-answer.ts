import type { DialogueFault } from './dialogue-fault.ts';
import type { Reply } from './reply.ts';

/** What a server said of a recipient before it was sent any content, or why nothing is known. */
export type RcptAnswer =
  /** A refused MAIL is every recipient's answer. */
  | { readonly kind: 'reply'; readonly stage: 'mail' | 'rcpt'; readonly reply: Reply }
  | { readonly kind: 'unanswered'; readonly stage: 'mail' | 'rcpt'; readonly fault: DialogueFault }
  /** Not asked: the server does not offer what the message needs. */
  | { readonly kind: 'unsupported'; readonly extension: string }
  /** There was nobody to ask. `after` and `reply`: what was said to what; absent where no connection came about. */
  | {
      readonly kind: 'no-session';
      readonly after?: string;
      readonly reply?: Reply;
      readonly fault: DialogueFault;
    };

/** What a server said of recipients, in their order; and to DATA, where that was said with the last of them. */
export interface RcptAnswers {
  readonly answers: readonly RcptAnswer[];
  readonly data?: Reply;
}
