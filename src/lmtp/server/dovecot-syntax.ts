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
const dotted = new RegExp(
  `^<(?:@${domainPattern}(?:,@${domainPattern})*:)?((?:${atext}|\\.)+)(@[!-=?-~]*)?>(?=$| )`,
);
/** A path between brackets, with nothing that could hide its end. */
const brackets = `^<(?:${quotedString}|(?!"))[^\\s>]*>`;
const bracketed = new RegExp(`${brackets}(?=$| )`);
const bracketedAndMore = new RegExp(`${brackets}[^ ]`);

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

const localPart = new RegExp(`^(?:${quotedString}|(?:${atext}|\\.)+)`);
const unquotable = /^"(?:[ !#-[\]-~]|\\[ -~])*[^ -~]/;
const domainText = new RegExp(`^(?:${domainPattern}|\\[[^\\[\\]\\\\ ]*\\])`);

/** The fault in a path, read from left to right; undefined where Dovecot finds none. */
export function pathFault(verb: 'MAIL' | 'RCPT', operand: string): string | undefined {
  if (operand.trim() === '') return 'Path is empty string';
  if (/^[ \t]/.test(operand)) return 'Unexpected whitespace before path';
  if (!operand.startsWith('<')) return "Missing '<' at beginning of path";
  // A broken sender is passed over as a whole before it is looked into.
  if (verb === 'MAIL' && bracketedAndMore.test(operand)) return 'Invalid character in path';
  let rest = operand.slice(1);
  if (rest.startsWith('>')) return 'Null path not allowed';
  if (rest.startsWith('@')) {
    const route = routeEnd(rest);
    if (typeof route === 'string') return route;
    rest = rest.slice(route);
    if (rest.startsWith('>')) return 'Path only consists of source route';
  }
  const local = localPart.exec(rest);
  if (local === null) {
    if (!rest.startsWith('"')) return 'Invalid character in localpart';
    return unquotable.test(rest) ? 'Invalid character in quoted string' : 'Premature end of quoted string';
  }
  rest = rest.slice(local[0].length);
  if (verb === 'MAIL' && /^[^@>]/.test(rest)) return 'Invalid character in localpart';
  if (rest.startsWith('@')) {
    rest = rest.slice(1);
    if (rest === '' || rest.startsWith('>')) return "Missing domain after '@'";
    const domain = domainText.exec(rest);
    if (domain === null) return rest.startsWith('[') ? 'Invalid address literal' : 'Invalid domain';
    if (domain[0].startsWith('[') && !isLiteral(domain[0])) return 'Invalid address literal';
    rest = rest.slice(domain[0].length);
    if (/^\.(?:\.|$)/.test(rest)) return 'Empty sub-domain';
    if (rest.startsWith('.')) return 'Invalid character in domain';
  } else if (verb === 'MAIL' && rest === '') return 'Missing domain';
  if (!rest.startsWith('>')) return "Missing '>' at end of path";
  return /^>(?: |$)/.test(rest) ? undefined : 'Invalid character in path';
}

/** Where a source route ends (`@one.test,@two.test:`), or what is wrong with it. */
function routeEnd(text: string): number | string {
  let at = 0;
  for (;;) {
    const domain = hop.exec(text.slice(at));
    at += domain?.[0].length ?? 0;
    if (domain === null || text[at] === '.') return "Missing domain after '@' in source route";
    if (text[at] === ':') return at + 1;
    if (text[at] !== ',') return "Missing ':' at end of source route";
    at++;
    if (text[at] !== '@') return "Missing '@' after ',' in source route";
  }
}

const hop = new RegExp(`^@${domainPattern}`);

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

const oneString = new RegExp(`^(?:${atext}+|${quotedString})$`);

/** What is wrong with the argument of VRFY or NOOP, one atom or quoted string (RFC 5321 §4.1.2); undefined where nothing is. */
export function stringFault(argument: string): string | undefined {
  if (oneString.test(argument)) return undefined;
  if (!argument.startsWith('"') || new RegExp(`^${quotedString}`).test(argument))
    return 'Invalid character in string';
  return unquotable.test(argument) ? 'Invalid character in quoted string' : 'Premature end of quoted string';
}
