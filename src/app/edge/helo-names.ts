/** Is the name in HELO the client's own (Exim manual, "helo_verify_hosts")? */
import type { HostFact } from '../../list/model.ts';
import { lowerAscii } from '../../mail/local-part.ts';
import { type Reply, reply } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import type { Terms } from './admission.ts';
import type { EdgeParts } from './parts.ts';
import type { SessionLog } from './session-log.ts';

/** `defer`: the DNS could not say. */
type HeloNamed = 'yes' | 'no' | 'defer';

/** Which of the options have the client in them. */
type HeloTerms = Pick<Terms, 'verifyHelo' | 'tryVerifyHelo'>;

interface HeloCheck {
  /** Found out once for each name; another HELO asks anew. */
  isNamed(helo: string): Promise<HeloNamed>;
  /** `helo_verify_hosts`, `helo_try_verify_hosts`: undefined where the name is taken; a refusal is logged. */
  refuse(terms: HeloTerms | undefined, verb: string, helo: string): Promise<Reply | undefined>;
}

/** For one connection. */
export function createHeloCheck(
  parts: Pick<EdgeParts, 'clientNames' | 'addressesOf'>,
  remoteAddress: string,
  log: Pick<SessionLog, 'name' | 'refused'>,
): HeloCheck {
  let named: { readonly helo: string; readonly answer: Promise<HeloNamed> } | undefined;

  function isNamed(helo: string): Promise<HeloNamed> {
    if (named?.helo !== helo) named = { helo, answer: heloNamed(parts, remoteAddress, helo) };
    return named.answer;
  }

  async function refuse(
    terms: HeloTerms | undefined,
    verb: string,
    helo: string,
  ): Promise<Reply | undefined> {
    if (terms?.verifyHelo !== true) {
      if (terms?.tryVerifyHelo === true) await isNamed(helo);
      return undefined;
    }
    const answer = await isNamed(helo);
    if (answer === 'yes') return undefined;
    const temporary = answer === 'defer';
    log.refused(`${temporary ? 'temporarily ' : ''}rejected "${verb} ${logText(helo)}" from ${log.name()}`);
    return reply(temporary ? 451 : 550, undefined, `${verb} argument does not match calling host`);
  }

  return { isNamed, refuse };
}

/** A literal with the client's address, a name of the client, or a name that leads to it. */
export async function heloNamed(
  { clientNames, addressesOf }: Pick<EdgeParts, 'clientNames' | 'addressesOf'>,
  address: string,
  helo: string,
): Promise<HeloNamed> {
  if (helo.startsWith('['))
    return lowerAscii(helo.replace(/^\[(?:IPv6:)?|\]$/gi, '')) === lowerAscii(address) ? 'yes' : 'no';
  const names = await clientNames(address);
  if (has(names, helo)) return 'yes';
  const forward = await addressesOf(helo);
  if (has(forward, address)) return 'yes';
  return forward.kind === 'defer' ? 'defer' : 'no';
}

function has(fact: HostFact, wanted: string): boolean {
  return fact.kind === 'found' && fact.values.some((value) => lowerAscii(value) === lowerAscii(wanted));
}
