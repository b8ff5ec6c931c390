/** A store's rules for recipients, by its options: whose domains are ours, aliases, who gets what is for nobody. */
import type { StoreInstance } from '../../config/model.ts';
import type { Directory, DirectoryAnswer } from '../../directory/directory.ts';
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { type Address, formatAddress, isSyntaxError, parseAddress } from '../../mail/address.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import { lowerAscii } from '../../mail/local-part.ts';
import type { Program } from '../program.ts';

type Options = Pick<StoreInstance['options'], 'domains' | 'aliases' | 'catch_all'>;

const unknown: DirectoryAnswer = { kind: 'unknown' };
const maxAliases = 10;

/**
 * A domain that is not ours has no users; a recipient without a domain is ours. `aliases` is expanded for the recipient, and for what it gives again, until it gives
 * nothing or the same; ten times at most, and a loop makes the recipient unavailable. A result without a domain gets the
 * recipient's. `catch_all` is expanded where nobody is known; if that user is not known either, the mail waits.
 */
export function withRecipientRules(
  directory: Directory,
  { domains, aliases, catch_all: catchAll }: Options,
  { main, services, lists }: Pick<Program, 'main' | 'services' | 'lists'>,
): Directory {
  if (domains === undefined && aliases === undefined && catchAll === undefined) return directory;

  const scopeOf = ({ local, domain }: Address): ExpandScope => ({
    main,
    services,
    address: { local, domain },
  });

  function isOurs(address: Address): Awaitable<true | DirectoryAnswer> {
    if (domains === undefined || address.domain === '') return true;
    const scope = scopeOf(address);
    const judge = (a: Awaited<ReturnType<typeof lists.matchList>>): true | DirectoryAnswer =>
      a.kind === 'yes' ? true : a.kind === 'no' ? unknown : unavailable('domains', a.reason);
    const match = (list: Awaited<ReturnType<typeof expandText>>): Awaitable<true | DirectoryAnswer> => {
      if (list.kind !== 'ok')
        return unavailable('domains', list.kind === 'forced-fail' ? 'forced failure' : list.reason);
      return then(lists.matchList('domain', list.text, address.domain, scope, list.tainted), judge);
    };
    return then(expandText(domains, scope), match);
  }

  /** The address that an option gives for this one; undefined for none. */
  function other(
    option: string,
    template: string,
    address: Address,
  ): Awaitable<Address | DirectoryAnswer | undefined> {
    return then(expandText(template, scopeOf(address)), (r) => {
      if (r.kind === 'forced-fail') return undefined;
      if (r.kind !== 'ok') return unavailable(option, r.reason);
      const text = r.text.trim();
      if (text === '') return undefined;
      const parsed = parseAddress(text);
      if (parsed === null || isSyntaxError(parsed))
        return unavailable(option, `"${text}" is not one user or address: ${parsed?.text ?? ''}`);
      return parsed.domain === '' ? { local: parsed.local, domain: address.domain } : parsed;
    });
  }

  function resolve(address: Address, template: string, depth = 0): Awaitable<DirectoryAnswer> {
    return then(other('aliases', template, address), (next) => {
      if (next === undefined) return directory.find(address);
      if ('kind' in next) return next;
      if (keyOf(next) === keyOf(address)) return directory.find(next);
      if (depth + 1 >= maxAliases)
        return unavailable(
          'aliases',
          `${formatAddress(next)}: more than ${maxAliases} aliases after each other`,
        );
      return resolve(next, template, depth + 1);
    });
  }

  function find(address: Address): Awaitable<DirectoryAnswer> {
    const found = aliases === undefined ? directory.find(address) : resolve(address, aliases);
    if (catchAll === undefined) return found;
    return then(found, (answer) => {
      if (answer.kind !== 'unknown') return answer;
      return then(other('catch_all', catchAll, address), (next) => {
        if (next === undefined) return unknown;
        if ('kind' in next) return next;
        return then(directory.find(next), (a) =>
          a.kind === 'unknown' ? unavailable('catch_all', `${formatAddress(next)} is not known`) : a,
        );
      });
    });
  }

  return {
    find: (address) => then(isOurs(address), (ours) => (ours === true ? find(address) : ours)),
    list: (max) => directory.list(max),
    close: () => directory.close(),
  };
}

function unavailable(option: string, reason: string): DirectoryAnswer {
  return { kind: 'unavailable', reason: `${option}: ${reason}` };
}

function keyOf(address: Address): string {
  return lowerAscii(formatAddress(address));
}

/** Goes on at once where nothing has to be waited for. */
function then<A, B>(value: Awaitable<A>, go: (value: A) => Awaitable<B>): Awaitable<B> {
  return value instanceof Promise ? value.then(go) : go(value);
}
