/** A configuration as read and checked. Names of options are Exim's; values have the types of the option tables. */
import type { SourcePosition, SourceText } from '../mail/diagnostic.ts';
import type { MatchKind } from '../expand/scope.ts';
import type { routerOptions } from './options/router.ts';
import type { directoryOptions } from './options/directory.ts';
import type { storeOptions } from './options/stores.ts';
import type { AnyValue, OptionTable, OptionValues } from './options/table.ts';
import type {
  DirectoryTables,
  MainTable,
  NoOptions,
  RouterTables,
  StoreTables,
  TransportTables,
} from './options/tables.ts';
import type { transportOptions } from './options/transport.ts';

/** An option that the file sets. */
export interface Given {
  readonly value: AnyValue;
  /** The texts of the value, one for each time it is set; empty for a switch without one. */
  readonly sources: readonly SourceText[];
  /** Where the name stands, the first time. */
  readonly position: SourcePosition;
  readonly hidden: boolean;
}

export type GivenOptions = ReadonlyMap<string, Given>;

/** `domainlist name = text` and the like. */
export interface NamedList {
  readonly kind: MatchKind;
  readonly name: string;
  /** The list's text, not yet expanded. */
  readonly text: SourceText;
  /** Where the name stands. */
  readonly position: SourcePosition;
  readonly hidden: boolean;
  /** `domainlist_cache`: results of lookups may be kept while one message is handled. */
  readonly cache: boolean;
}

/** The text of an ACL in the form that src/acl/parse.ts takes. */
export interface AclText {
  readonly name: string;
  readonly position: SourcePosition;
  readonly lines: readonly SourceText[];
}

/** One router, transport, store or directory. */
export interface DriverInstance<Driver extends string, Options> {
  readonly name: string;
  readonly driver: Driver;
  /** Where its name stands. */
  readonly position: SourcePosition;
  /** Generic and private options that do something, with defaults filled in. */
  readonly options: Options;
  /** What the file sets, refused and ignored options among it. */
  readonly given: GivenOptions;
}

export type MainOptions = OptionValues<MainTable>;

type InstanceOptions<Table, Generic extends OptionTable> = Table extends NoOptions
  ? OptionValues<Generic>
  : Table extends OptionTable
    ? OptionValues<Generic> & OptionValues<Table>
    : never;

type Instances<Tables, Generic extends OptionTable> = {
  readonly [D in keyof Tables & string]: DriverInstance<D, InstanceOptions<Tables[D], Generic>>;
}[keyof Tables & string];

export type RouterInstance = Instances<RouterTables, typeof routerOptions>;
export type TransportInstance = Instances<TransportTables, typeof transportOptions>;
export type StoreInstance = Instances<StoreTables, typeof storeOptions>;
export type DirectoryInstance = Instances<DirectoryTables, typeof directoryOptions>;

/** An authenticator: read and checked, but nobody uses it yet. */
export type AuthenticatorInstance = DriverInstance<string, Readonly<Record<string, unknown>>>;

export interface ConfigModel {
  /** The main file's name as given. */
  readonly file: string;
  readonly main: MainOptions;
  readonly mainGiven: GivenOptions;
  readonly lists: Readonly<Record<MatchKind, ReadonlyMap<string, NamedList>>>;
  readonly acls: ReadonlyMap<string, AclText>;
  /** In the order in which addresses are offered to them. */
  readonly routers: readonly RouterInstance[];
  readonly transports: readonly TransportInstance[];
  readonly authenticators: readonly AuthenticatorInstance[];
  readonly stores: readonly StoreInstance[];
  readonly directories: readonly DirectoryInstance[];
  /** Lines of the retry section, for src/retry/rules.ts. */
  readonly retry: readonly SourceText[];
  /** Lines of the rewrite section. */
  readonly rewrite: readonly SourceText[];
  /** All macros with what they stand for, built-in ones first. */
  readonly macros: readonly { readonly name: string; readonly text: string }[];
}
