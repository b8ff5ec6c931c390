/** The words of the command grammar: what a command line can turn out to be, and what can be wrong with it. */
import type { ReversePath } from '../mail/address.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';

export type MailParams = Pick<
  Envelope,
  'body' | 'declaredSize' | 'smtputf8' | 'ret' | 'envid' | 'transfer'
> & {
  /** A reply for each recipient is wanted after the content (PRDR, draft-hall-prdr). */
  readonly prdr?: boolean;
};

/** What the grammar of a session allows beyond RFC 5321's minimum. */
export interface Grammar {
  /** Parameters after the path; false after HELO, as in Exim. */
  readonly parameters: boolean;
  /** RET, ENVID and NOTIFY of RFC 3461; ORCPT goes with `orcpt`. */
  readonly dsn: boolean;
  /** ORCPT alone, which Dovecot takes without offering DSN. */
  readonly orcpt: boolean;
  /** XRCPTFORWARD, by which Dovecot's proxies hand on what they know of a recipient. */
  readonly forward?: boolean;
  readonly size: boolean;
  readonly smtputf8: boolean;
  readonly prdr?: boolean;
  /** XTRANSFER of MAIL and RCPT, see {@link Envelope.transfer}. */
  readonly transfer?: boolean;
  /** Exim's liberty: a path without angle brackets, and space before it. */
  readonly loosePath: boolean;
  /** An address without a domain; `postmaster` as a recipient is always allowed (RFC 5321 §4.1.1.3). */
  readonly unqualified: boolean;
  /** `user@[192.0.2.1]` (Exim: `allow_domain_literals`). */
  readonly domainLiterals: boolean;
  /** See PathRules. */
  readonly excessBrackets?: boolean;
  readonly trailingDot?: boolean;
}

export type CommandError =
  | { readonly kind: 'unknown-command' }
  /** RSET, DATA or QUIT with an argument. */
  | { readonly kind: 'unexpected-argument' }
  /** MAIL without FROM:, RCPT without TO:. */
  | { readonly kind: 'no-keyword'; readonly verb: 'MAIL' | 'RCPT' }
  | {
      readonly kind: 'path';
      readonly verb: 'MAIL' | 'RCPT';
      readonly fault: PathFault;
      readonly operand: string;
    }
  | {
      readonly kind: 'parameter';
      readonly verb: 'MAIL' | 'RCPT';
      readonly name: string;
      readonly fault: 'value' | 'repeated';
      /** The faulty parameter and what follows it. */
      readonly parameters: string;
    }
  /** A parameter that does not exist or was not offered. */
  | {
      readonly kind: 'unknown-parameter';
      readonly verb: 'MAIL' | 'RCPT';
      readonly operand: string;
      readonly parameters: string;
    }
  | { readonly kind: 'chunk-size' }
  /** What follows the size is not LAST; `more` where something follows LAST. */
  | { readonly kind: 'chunk-marker'; readonly octets: number; readonly more: boolean };

export type PathFault =
  | {
      readonly kind:
        | 'empty'
        | 'leading-space'
        | 'no-open'
        | 'no-close'
        | 'null'
        | 'unqualified'
        | 'domain-literal'
        | 'domain';
    }
  /** What is wrong with the address, for a person. */
  | { readonly kind: 'address'; readonly reason: string }
  /** Text directly behind the `>`. */
  | { readonly kind: 'trailing'; readonly path: string; readonly text: string };

export type Command =
  | {
      readonly verb:
        | 'HELO'
        | 'EHLO'
        | 'LHLO'
        | 'NOOP'
        | 'HELP'
        | 'VRFY'
        | 'EXPN'
        | 'ETRN'
        | 'STARTTLS'
        | 'AUTH'
        | 'XCLIENT';
      readonly argument: string;
    }
  | { readonly verb: 'MAIL'; readonly sender: ReversePath; readonly params: MailParams }
  | { readonly verb: 'RCPT'; readonly recipient: Recipient }
  | { readonly verb: 'DATA' | 'RSET' | 'QUIT' }
  | { readonly verb: 'BDAT'; readonly octets: number; readonly last: boolean }
  | { readonly verb: 'error'; readonly of: string; readonly error: CommandError };

/** What {@link parseMailParams} and {@link parseRcptParams} give for a parameter they refuse. */
export interface ParamFault {
  readonly error: 'unknown' | 'value' | 'repeated';
  readonly name: string;
  /** The parameter and what follows it. */
  readonly text: string;
}
