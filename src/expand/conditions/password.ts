/** Conditions that ask others whether a password is right (Exim manual, "Expansion conditions"). */
import type { PasswordAnswer, PasswordQuestion } from '../../mail/password-check.ts';
import { aside, type ConditionRow, type Evaluator } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { error, type Outcome, type Result } from '../outcome.ts';
import { oneGroup, unaryCondition } from './helpers.ts';

const nothing: Evaluator = () => '';

function ask(question: PasswordQuestion, frame: Frame): Result<boolean> {
  const { services } = frame.scope;
  if (services.checkPassword === undefined) return error(`no password can be checked here: ${question.by}`);
  const take = (a: PasswordAnswer): Outcome<boolean> =>
    a.kind === 'unknown' ? error(a.reason) : a.kind === 'accepted';
  const answer = services.checkPassword(question);
  return answer instanceof Promise ? answer.then(take) : take(answer);
}

/**
 * The query names the server, so what comes from the wire must not end the value that it stands in: it goes through
 * `${quote_ldap_dn:` in `user=` and through `${quote:` in `pass=`.
 */
const ldapauth: ConditionRow = {
  parse: oneGroup,
  compile(parts, compiler) {
    const query = parts.groups[0] === undefined ? nothing : compiler.query(parts.groups[0], 'ldapauth');
    return (frame) =>
      aside(query, frame, (text, tainted) =>
        tainted
          ? error(
              'tainted text in the query of ldapauth is not quoted; write user="...${quote_ldap_dn:...}..." and pass=${quote:...}',
            )
          : ask({ by: 'ldapauth', query: text }, frame),
      );
  },
};

const pwcheck = unaryCondition((text, frame) => {
  const at = text.lastIndexOf(':');
  if (at < 0) return error('pwcheck: malformed input - missing colon');
  return ask({ by: 'pwcheck', user: text.slice(0, at), password: text.slice(at + 1) }, frame);
});

const radius = unaryCondition((text, frame) => {
  const [user, password] = firstItem(text);
  return ask({ by: 'radius', user, password }, frame);
});

/** The first item of a list, and what follows its separator as it stands. */
function firstItem(text: string): readonly [item: string, rest: string] {
  const named = /^\s*<([!-/:-@[-`{-~\x00-\x1f\x7f])/.exec(text);
  const separator = named?.[1] ?? ':';
  let item = '';
  for (let at = named?.[0].length ?? 0; ; ) {
    const end = text.indexOf(separator, at);
    if (end < 0) return [(item + text.slice(at)).trim(), ''];
    item += text.slice(at, end);
    // A doubled separator is one of data.
    if (text[end + 1] !== separator) return [item.trim(), text.slice(end + 1)];
    item += separator;
    at = end + 2;
  }
}

const saslauthd: ConditionRow = {
  parse(p, name) {
    p.skipSpace();
    if (!p.take('{')) return p.fail(`missing { after "${name}"`);
    const { position } = p;
    p.skipSpace();
    const groups = [];
    while (groups.length < 4 && p.at('{')) {
      const group = p.group();
      if (group === undefined) return undefined;
      groups.push(group);
      p.skipSpace();
    }
    if (groups.length < 2) {
      p.position = position;
      return p.fail(`too few arguments or bracketing error for ${name}`);
    }
    if (p.take('}')) return { groups };
    return p.fail(p.at('{') ? `Too many arguments for '${name}' (max is 4)` : `missing '}' after '${name}'`);
  },
  compile(parts, compiler) {
    const at = (i: number): Evaluator => {
      const group = parts.groups[i];
      return group === undefined ? nothing : compiler.text(group);
    };
    const evaluators = [at(0), at(1), at(2), at(3)] as const;
    return (frame) =>
      aside(evaluators[0], frame, (user) =>
        aside(evaluators[1], frame, (password) =>
          aside(evaluators[2], frame, (service) =>
            aside(evaluators[3], frame, (realm) =>
              ask({ by: 'saslauthd', user, password, service, realm }, frame),
            ),
          ),
        ),
      );
  },
};

export const passwordConditions: Readonly<Record<string, ConditionRow>> = {
  ldapauth,
  pwcheck,
  radius,
  saslauthd,
};
