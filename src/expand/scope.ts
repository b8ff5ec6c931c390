/**
 * What an expansion can see. Facts come in groups that exist or not, as in Exim: while a RCPT is checked there is a
 * connection, a message without content and an address; at delivery there is a message and an address.
 * A variable whose group is absent expands to the empty string. All strings hold one octet a character.
 */
import type { Address, ReversePath } from '../mail/address.ts';
import type { Awaitable } from '../mail/awaitable.ts';
import type { BodyFacts } from '../mail/body-meter.ts';
import type { HeaderField } from '../mail/headers.ts';
import type { PasswordAnswer, PasswordQuestion } from '../mail/password-check.ts';
import type { Lookup } from '../lookup/lookup.ts';

export type { BodyFacts } from '../mail/body-meter.ts';
export type { Awaitable } from '../mail/awaitable.ts';
export type { LookupAnswer, LookupRequest } from '../lookup/lookup.ts';

/** Facts of the configuration and the machine. */
export interface MainFacts {
  readonly primaryHostname: string;
  readonly qualifyDomain: string;
  readonly qualifyRecipient: string;
  readonly spoolDirectory: string;
  /** `dsn_from`, expanded; see systemSender. */
  readonly dsnFrom?: string;
  readonly configFile: string;
  /** `message_body_visible`, octets; 500 where absent. */
  readonly messageBodyVisible?: number;
  /** `message_body_newlines`: line ends stay in `$message_body`. */
  readonly messageBodyNewlines?: boolean;
  /** `headers_charset`, the target of `$h_`; UTF-8 where absent. */
  readonly headersCharset?: string;
  /** `check_rfc2047_length`; absent: true. */
  readonly checkRfc2047Length?: boolean;
  /** What `${env` sees and commands get: the process's own for `${env` and nothing for commands where absent. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Facts of the SMTP connection (Exim: `$sender_host_address`, `$sender_helo_name`, ...). Mutable by the session that owns it. */
export interface ConnectionFacts {
  hostAddress: string;
  hostPort: number;
  interfaceAddress: string;
  interfacePort: number;
  /** Verified name; undefined while not looked up or not verified. */
  hostName?: string;
  helo?: string;
  /** `smtp_active_hostname`, where it is not `primary_hostname`. */
  activeHostname?: string;
  /** What became of looking for the host's name, where it did not succeed. */
  hostLookup?: 'failed' | 'deferred';
  /** Exim's `$received_protocol` as it would be now. */
  protocol: string;
  authenticatedId?: string;
  /** `acl_c` variables by name without the `acl_` prefix (`c0`, `c_foo`). */
  readonly variables: Map<string, string>;
  /** Names in {@link variables} whose value is tainted. Absent: every value counts as tainted. */
  readonly taintedVariables?: Set<string>;
}

/** Facts of the message. Mutable by the session or delivery that owns it. */
export interface MessageFacts {
  id?: string;
  sender: ReversePath;
  /** The sender is of our own making: it does not taint. */
  senderClean?: true;
  /** MAIL SIZE=, or -1. */
  declaredSize: number;
  /** Octets received; -1 before the data. */
  size: number;
  bodyIs8bit: boolean;
  /** `$sender_address_data`: what the routers said when an ACL verified the sender. */
  senderAddressData?: string;
  /** Accepted so far. */
  recipients: readonly Address[];
  /** RCPT commands so far, refused ones included. */
  rcptCount: number;
  /** 0 where nothing has been received. */
  receivedAtMs: number;
  /** The header section once it is there. */
  readonly headers?: () => readonly HeaderField[];
  /** The body once it is there; a promise where it must be read first, which rejects with MailError('IO') where that fails. */
  readonly body?: () => Awaitable<BodyFacts>;
  /** `acl_m` variables by name without the `acl_` prefix. */
  readonly variables: Map<string, string>;
  /** Names in {@link variables} whose value is tainted. Absent: every value counts as tainted. */
  readonly taintedVariables?: Set<string>;
  /** `first_delivery`: true during the first delivery attempt, absent outside delivery. */
  firstDelivery?: boolean;
}

/** Facts of the address at hand. */
export interface AddressFacts {
  /** Without affixes. */
  local: string;
  domain: string;
  /** `$local_part` and `$domain` keep quotes and letter case: while an address is rewritten. */
  asWritten?: true;
  prefix?: string;
  suffix?: string;
  /** What a `*` in the affix stands for. */
  prefixWild?: string;
  suffixWild?: string;
  /** Set by a successful lookup in a router's, ACL's or list's domains / local_parts; untainted. */
  domainData?: string;
  localPartData?: string;
  /** True where the data above is an item of a list that came from the wire. */
  domainDataTainted?: boolean;
  localPartDataTainted?: boolean;
  addressData?: string;
  /** False only where {@link addressData} is known to be untainted. */
  addressDataTainted?: boolean;
  /** `$r_...` variables of a router's `set` option, by name without the `r_`. */
  routerVariables?: ReadonlyMap<string, ExtraValue>;
  /** Before redirection. */
  original?: Address;
  parent?: Address;
  /** At delivery. */
  host?: string;
  hostAddress?: string;
  hostPort?: number;
  router?: string;
  transport?: string;
  /** The reverse path of this delivery; absent: the message's sender. */
  returnPath?: ReversePath;
}

/** Facts that ACLs set. */
export interface AclFacts {
  verifyMessage?: string;
  senderVerifyFailure?: string | undefined;
  recipientVerifyFailure?: string | undefined;
  /** `$acl_arg1`... of a nested call. */
  args?: readonly string[];
  logMessage?: string;
}

export type MatchKind = 'domain' | 'host' | 'address' | 'local_part';

/** An answer of a list. `data` is what a lookup or pattern gave, Exim's `$domain_data` and the like. */
export type ListAnswer =
  /** `tainted`: the data is an item of a list that came from the wire. */
  | {
      readonly kind: 'yes';
      readonly data?: string;
      readonly tainted?: boolean;
      /** No item matched, and the last one was negated. */
      readonly byDefault?: true;
      /** `$0`, `$1`... of a wildcard or regular expression. */
      readonly captures?: readonly string[];
    }
  | { readonly kind: 'no' }
  | { readonly kind: 'defer'; readonly reason: string };

/** A value with its taint mark. */
export interface ExtraValue {
  readonly text: string;
  readonly tainted: boolean;
}

/** What expansion needs from outside its own folder. */
export interface ExpandServices {
  readonly lookup: Lookup;
  /**
   * `match_domain` and the like; `list` is a list's text, already expanded, and `listTainted` whether any of it came from
   * the wire (it may then name no files). `host` is `match_ip`: items that need a host's name do not match.
   */
  matchList(
    kind: MatchKind,
    list: string,
    subject: string,
    scope: ExpandScope,
    listTainted?: boolean,
  ): Awaitable<ListAnswer>;
  /** The conditions `ldapauth`, `pwcheck`, `radius` and `saslauthd`; absent where nobody can be asked. */
  checkPassword?(question: PasswordQuestion): Awaitable<PasswordAnswer>;
  /** `${listnamed`: the text of a named list; `kind` absent searches all kinds. Absent where there are no named lists. */
  namedList?(kind: MatchKind | undefined, name: string): string | undefined;
  /**
   * `${acl {name}{arg}...}` and the `acl` condition; absent where no ACL can run. The name may be the text of an ACL in itself,
   * unless it is tainted.
   */
  callAcl?(
    name: string,
    args: readonly string[],
    scope: ExpandScope,
    nameTainted: boolean,
  ): Awaitable<{
    /** The last three make the expansion fail. */
    readonly verdict: 'accept' | 'deny' | 'defer' | 'discard' | 'drop' | 'error';
    readonly message: string;
    readonly tainted?: boolean;
  }>;
}

export interface ExpandScope {
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly connection?: ConnectionFacts;
  readonly message?: MessageFacts;
  readonly address?: AddressFacts;
  readonly acl?: AclFacts;
  /** `$0`, `$1`... from a match made before the expansion (a regular expression in a list); tainted. */
  readonly captures?: readonly string[];
  /** Certificates in DER by the name of their variable (`tls_in_peercert`). */
  readonly certificates?: ReadonlyMap<string, Buffer>;
  /** `queue_running`: true in deliveries that a queue run started. */
  readonly queueRunning?: boolean;
  /** Values by variable name without `$`, for variables that have no place in the groups above (`host_data`, `home`). */
  readonly extra?: ReadonlyMap<string, ExtraValue>;
}
