/** What tests at the command line have in place of a message: nothing has been received, and ACLs may set variables. */
import { userInfo } from 'node:os';
import type { MessageFacts } from '../expand/scope.ts';
import { type Domain, isSyntaxError, parseAddress, type ReversePath } from '../mail/address.ts';

/** @param sender untainted: of our own making, or given on the command line */
export function noMessage(sender: ReversePath): MessageFacts {
  return {
    sender,
    senderClean: true,
    declaredSize: 0,
    size: 0,
    bodyIs8bit: false,
    recipients: [],
    rcptCount: 0,
    receivedAtMs: 0,
    variables: new Map(),
  };
}

/** The address that `-f` gave, or that of the user who runs the command. */
export function commandSender(given: string | undefined, qualifyDomain: string): ReversePath {
  if (given === '') return null;
  const address = parseAddress(given ?? userInfo().username);
  if (isSyntaxError(address)) return null;
  return address.domain === '' ? { ...address, domain: qualifyDomain as Domain } : address;
}
