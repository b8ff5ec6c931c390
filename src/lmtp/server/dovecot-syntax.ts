/**
 * What Dovecot 2.3 makes of a MAIL or RCPT that the common grammar refuses: how it words the fault, and the liberties it
 * takes. Looked at only then, so that the usual commands pay nothing for it. Found by asking the running program.
 */
import { parseCommand } from '../../protocol/command.ts';
import type { Command, Grammar } from '../../protocol/grammar.ts';

const atext = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";
const quotedString = '"(?:[ !#-\\[\\]-~]|\\\\[ -~])*"';
const domainPattern = '[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)*';

/** `<.user@example.test>`: dots anywhere in an unquoted local part, which is shown in quotes then. */
const dotted = new RegExp(`^<((?:${atext}|\\.)+)(@[!-=?-~]*)?>(?=$| )`);
/** A path between brackets, with nothing that could hide its end. */
const bracketed = /^<[^\s">]*>(?=$| )/;

/**
 * Reads once more a command whose path was refused; undefined where Dovecot refuses it too. In MAIL a broken address in
 * intact brackets is taken for `<>`: mail with an impossible sender arrives.
 * @param operand what follows FROM: or TO:
 */
export function readLiberally(verb: 'MAIL' | 'RCPT', operand: string, grammar: Grammar): Command | undefined {
  const match = dotted.exec(operand);
  if (match?.[1] !== undefined) {
    const rest = operand.slice(match[0].length);
    const command = parseCommand(
      `${verb} ${verb === 'MAIL' ? 'FROM' : 'TO'}:<"${match[1]}"${match[2] ?? ''}>${rest}`,
      grammar,
    );
    if (command.verb !== 'error' || command.error.kind !== 'path') return command;
  }
  return verb === 'MAIL' ? withoutSender(operand, grammar) : undefined;
}

/** A MAIL with a broken sender, as one from `<>`; undefined where the brackets are broken too. */
export function withoutSender(operand: string, grammar: Grammar): Command | undefined {
  const broken = bracketed.exec(operand);
  return broken === null
    ? undefined
    : parseCommand(`MAIL FROM:<>${operand.slice(broken[0].length)}`, grammar);
}

const route = new RegExp(`^(?:@${domainPattern},)*@${domainPattern}:`);
const localPart = new RegExp(`^(?:${quotedString}|(?:${atext}|\\.)+)`);
const domainText = new RegExp(`^(?:${domainPattern}|\\[[^\\[\\]\\\\ ]*\\])`);

/** The fault in a path, read from left to right; undefined where Dovecot finds none. */
export function pathFault(verb: 'MAIL' | 'RCPT', operand: string): string | undefined {
  if (operand.trim() === '') return 'Path is empty string';
  if (/^[ \t]/.test(operand)) return 'Unexpected whitespace before path';
  if (!operand.startsWith('<')) return "Missing '<' at beginning of path";
  // A broken sender is passed over as a whole before it is looked into.
  if (verb === 'MAIL' && /^<[^\s">]*>[^ ]/.test(operand)) return 'Invalid character in path';
  let rest = operand.slice(1);
  if (rest.startsWith('>')) return 'Null path not allowed';
  if (rest.startsWith('@')) {
    const hops = route.exec(rest);
    if (hops === null)
      return new RegExp(`^@${domainPattern}`).test(rest)
        ? "Missing ':' at end of source route"
        : "Missing domain after '@' in source route";
    rest = rest.slice(hops[0].length);
  }
  const local = localPart.exec(rest);
  if (local === null)
    return rest.startsWith('"') ? 'Premature end of quoted string' : 'Invalid character in localpart';
  rest = rest.slice(local[0].length);
  if (/^[\x80-\xff]/.test(rest) || (verb === 'MAIL' && /^[^@>]/.test(rest)))
    return 'Invalid character in localpart';
  if (rest.startsWith('@')) {
    rest = rest.slice(1);
    if (rest === '' || rest.startsWith('>')) return "Missing domain after '@'";
    const domain = domainText.exec(rest);
    if (domain === null) return rest.startsWith('[') ? 'Invalid address literal' : 'Invalid domain';
    if (domain[0].startsWith('[') && !isLiteral(domain[0])) return 'Invalid address literal';
    rest = rest.slice(domain[0].length);
    if (rest.startsWith('..')) return 'Empty sub-domain';
    if (/^[.\x80-\xff]/.test(rest)) return 'Invalid character in domain';
  }
  if (!rest.startsWith('>')) return "Missing '>' at end of path";
  return /^>(?: |$)/.test(rest) ? undefined : 'Invalid character in path';
}

/** An address literal that Dovecot can read. */
export function isLiteral(domain: string): boolean {
  return /^\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]+)\]$/i.test(domain);
}

/** What is wrong with the form of a parameter; undefined where nothing is. RFC 5321 §4.1.2, esmtp-param. */
export function parameterFault(word: string): string | undefined {
  if (word === '') return 'Parameter is empty';
  const equals = word.indexOf('=');
  const keyword = equals < 0 ? word : word.slice(0, equals);
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(keyword)) return 'Unexpected character in parameter keyword';
  if (equals >= 0 && !/^[!-<>-~]*$/.test(word.slice(equals + 1)))
    return 'Unexpected character in parameter value';
  return undefined;
}

/** The argument of VRFY and NOOP: one atom or quoted string (RFC 5321 §4.1.2). */
export function isOneString(argument: string): boolean {
  return new RegExp(`^(?:${atext}+|${quotedString})$`).test(argument);
}
