/** The variables of expansions (Exim manual, "Expansion variables"): name -> how to read it and whether it is tainted. */
import type { Evaluator, VariableRow } from './evaluator.ts';
import type { Frame } from './frame.ts';
import { chain } from './outcome.ts';
import { recall } from './memory.ts';
import { addressVariables } from './variables/address.ts';
import { connectionVariables } from './variables/connection.ts';
import { mainVariables } from './variables/main.ts';
import { messageVariables } from './variables/message.ts';
import { unsetVariables } from './variables/unset.ts';

const frameVariables: Readonly<Record<string, VariableRow>> = {
  value: { read: (f) => f.value, tainted: (f) => f.valueTainted },
  item: { read: (f) => f.item, tainted: (f) => f.itemTainted },
  acl_verify_message: { read: (f) => f.scope.acl?.verifyMessage ?? '', tainted: true },
  sender_verify_failure: { read: (f) => f.scope.acl?.senderVerifyFailure ?? '' },
  recipient_verify_failure: { read: (f) => f.scope.acl?.recipientVerifyFailure ?? '' },
  acl_narg: { read: (f) => String(f.scope.acl?.args?.length ?? 0) },
};

/** A value that an expansion left behind. */
function remembered(name: string, otherwise: string): VariableRow {
  return {
    read: (f) => f.scope.extra?.get(name)?.text ?? recall(f.scope, name)?.text ?? otherwise,
    tainted: (f) => (f.scope.extra?.get(name) ?? recall(f.scope, name))?.tainted ?? false,
  };
}

/** Certificates have no text; they are for `${certextract` and digests. */
const certificateVariables: Readonly<Record<string, VariableRow>> = Object.fromEntries(
  ['tls_in_ourcert', 'tls_in_peercert', 'tls_out_ourcert', 'tls_out_peercert'].map((name) => [
    name,
    { read: (f: Frame) => (f.scope.certificates?.has(name) === true ? '<cert>' : '') },
  ]),
);

const rememberedVariables: Readonly<Record<string, VariableRow>> = {
  runrc: remembered('runrc', '0'),
  lookup_dnssec_authenticated: remembered('lookup_dnssec_authenticated', ''),
  prvscheck_result: remembered('prvscheck_result', ''),
  srs_recipient: remembered('srs_recipient', ''),
  prvscheck_address: { read: (f) => f.prvs?.address ?? '', tainted: (f) => f.prvs?.tainted ?? false },
  prvscheck_keynum: { read: (f) => f.prvs?.key ?? '', tainted: (f) => f.prvs?.tainted ?? false },
};

/** Name -> row; a later group wins where two have a name. */
const table: ReadonlyMap<string, VariableRow> = new Map(
  Object.entries({
    ...unsetVariables,
    ...mainVariables,
    ...messageVariables,
    ...connectionVariables,
    ...addressVariables,
    ...frameVariables,
    ...rememberedVariables,
    ...certificateVariables,
  }),
);

/** Names of all variables but the open families (`acl_c...`, `acl_m...`, `r_...`). */
export function variableNames(): readonly string[] {
  return [...table.keys()];
}

/** The row of a variable, or for an unknown name the hint that Exim adds to its complaint (often empty). */
export function findVariable(name: string): VariableRow | string {
  const row = table.get(name);
  if (row !== undefined) return row;
  if (name.startsWith('acl_')) return aclVariable(name);
  if (name.startsWith('r_')) return routerVariable(name.slice(2));
  return '';
}

/** Compiles a reference to a variable that {@link findVariable} knows. */
export function readVariable(name: string): Evaluator {
  const row = findVariable(name);
  if (typeof row === 'string') throw new Error(`no variable ${name}`);
  const { read, tainted } = row;
  if (tainted === undefined) return read;
  const isTainted = tainted === true ? (): boolean => true : tainted;
  return (frame) => {
    const mark = (text: string): string => {
      if (text !== '' && isTainted(frame)) frame.tainted = true;
      return text;
    };
    return chain(read(frame), mark);
  };
}

function aclVariable(name: string): VariableRow | string {
  const argument = /^acl_arg([1-9])$/.exec(name)?.[1];
  if (argument !== undefined) {
    const index = Number(argument) - 1;
    return { read: (f) => f.scope.acl?.args?.[index] ?? '', tainted: true };
  }
  if (!/^acl_[cm]/.test(name)) return ' (user-defined ACL variables must start acl_c or acl_m)';
  if (!/^acl_[cm](?:[0-9_]|$)/.test(name))
    return ' (6th character of a user-defined ACL variable must be a digit or underscore)';
  const key = name.slice(4);
  const holder = name.charAt(4) === 'c' ? connectionHolder : messageHolder;
  return {
    read: (f) => holder(f)?.variables.get(key) ?? '',
    tainted: (f) => holder(f)?.taintedVariables?.has(key) ?? true,
  };
}

interface Holder {
  readonly variables: Map<string, string>;
  readonly taintedVariables?: Set<string>;
}

function connectionHolder(f: Frame): Holder | undefined {
  return f.scope.connection;
}

function messageHolder(f: Frame): Holder | undefined {
  return f.scope.message;
}

function routerVariable(name: string): VariableRow {
  return {
    read: (f) => f.scope.address?.routerVariables?.get(name)?.text ?? '',
    tainted: (f) => f.scope.address?.routerVariables?.get(name)?.tainted ?? true,
  };
}
