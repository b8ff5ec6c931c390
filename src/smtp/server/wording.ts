/** Faults of commands in Exim's words and codes, with the statuses of RFC 3463 that Exim does not send. */
import { assertNever } from '../../mail/assert-never.ts';
import type { EnhancedStatus } from '../../mail/reply.ts';
import type { CommandError, PathFault } from '../../protocol/grammar.ts';

export interface Wording {
  readonly code: number;
  readonly status: EnhancedStatus;
  readonly text: string;
}

/** Exim 4.96's answer to a command it cannot take, as seen from the binary. */
export function wordCommandError(error: CommandError): Wording {
  switch (error.kind) {
    case 'unknown-command':
    case 'no-keyword':
      return { code: 500, status: '5.5.1', text: 'unrecognized command' };
    case 'unexpected-argument':
      return { code: 501, status: '5.5.4', text: 'unexpected argument data' };
    case 'path':
      return wordPath(error.verb, error.fault, error.operand);
    case 'parameter':
      return { code: 501, status: '5.5.4', text: wordParameter(error.name, error.fault) };
    case 'unknown-parameter': {
      const before = error.operand.slice(0, error.operand.length - error.parameters.length);
      const text = `${error.operand}: malformed address: ${error.parameters} may not follow ${before}`;
      return { code: 501, status: '5.5.4', text: printable(text) };
    }
    case 'chunk-size':
    case 'chunk-marker':
      return { code: 501, status: '5.5.4', text: 'missing size for BDAT command' };
    default:
      return assertNever(error);
  }
}

function wordPath(verb: 'MAIL' | 'RCPT', fault: PathFault, operand: string): Wording {
  const status = verb === 'MAIL' ? '5.1.7' : '5.1.3';
  if (fault.kind === 'empty')
    return { code: 501, status: '5.5.4', text: `${verb} must have an address operand` };
  return { code: 501, status, text: printable(`${operand}: ${pathReason(verb, fault)}`) };
}

function pathReason(verb: 'MAIL' | 'RCPT', fault: PathFault): string {
  switch (fault.kind) {
    case 'empty':
    case 'null':
      return 'missing or malformed local part';
    case 'leading-space':
    case 'no-open':
      return "'<' expected at start of address";
    case 'no-close':
      return "'>' missing at end of address";
    case 'unqualified':
      return `${verb === 'MAIL' ? 'sender' : 'recipient'} address must contain a domain`;
    case 'domain-literal':
      return 'domain literals not allowed';
    case 'domain':
      return 'domain missing or malformed';
    case 'address':
      return fault.reason;
    case 'trailing':
      return `malformed address: ${fault.text} may not follow ${fault.path}`;
    default:
      return assertNever(fault);
  }
}

function wordParameter(name: string, fault: 'value' | 'repeated'): string {
  if (fault === 'repeated') return `${name} can be specified once only`;
  switch (name) {
    case 'RET':
      return 'Value for RET is invalid';
    case 'NOTIFY':
    case 'ORCPT':
    case 'ENVID':
      return `Invalid value for ${name} parameter`;
    default:
      return `invalid data for ${name}`;
  }
}

/** What the client sent goes into a reply only as printable text, and never so much that the line grows too long. */
function printable(text: string): string {
  const clean = text.replace(/[\x00-\x1f\x7f]/g, '?');
  return clean.length <= 480 ? clean : `${clean.slice(0, 477)}...`;
}
