import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PasswordAnswer, PasswordQuestion } from '../mail/password-check.ts';
import { expandText } from './expand.ts';
import type { ExpandScope } from './scope.ts';
import { addressFacts, connectionFacts, scopeWith, services } from './test-scope.ts';

const asked: PasswordQuestion[] = [];

function scope(answer: PasswordAnswer, later = false): ExpandScope {
  const checkPassword = (question: PasswordQuestion): PasswordAnswer | Promise<PasswordAnswer> => {
    asked.push(question);
    return later ? Promise.resolve(answer) : answer;
  };
  return scopeWith({
    services: { ...services, checkPassword },
    address: addressFacts({ local: 'x" ldap://evil/' }),
    connection: connectionFacts({ helo: 'a:b' }),
  });
}

/** What is asked for `${if CONDITION{y}{n}}`, and what comes of it. */
async function ask(condition: string, answer: PasswordAnswer = { kind: 'accepted' }, later = false) {
  asked.length = 0;
  const result = await expandText(`\${if ${condition}{y}{n}}`, scope(answer, later));
  return { said: result.kind === 'ok' ? result.text : result, asked: [...asked] };
}

describe('conditions that ask others for passwords', () => {
  it('are true, false or an error by the answer', async () => {
    for (const later of [false, true]) {
      assert.equal((await ask('pwcheck{u:p}', { kind: 'accepted' }, later)).said, 'y');
      assert.equal((await ask('pwcheck{u:p}', { kind: 'rejected' }, later)).said, 'n');
      assert.equal((await ask('!pwcheck{u:p}', { kind: 'rejected' }, later)).said, 'y');
      const { said } = await ask('and{{pwcheck{u:p}}{eq{a}{a}}}', { kind: 'unknown', reason: 'away' }, later);
      assert.deepEqual(said, { kind: 'error', reason: 'away inside "and{...}" condition' });
    }
  });

  it('split name and password: pwcheck at the last colon, radius after the first item of a list', async () => {
    for (const [condition, user, password] of [
      ['pwcheck{u:p}', 'u', 'p'],
      ['pwcheck{u:v:p}', 'u:v', 'p'],
      ['pwcheck{:}', '', ''],
      ['radius{u:p}', 'u', 'p'],
      ['radius{ u : p : q }', 'u', ' p : q '],
      ['radius{u::v:p}', 'u:v', 'p'],
      ['radius{u}', 'u', ''],
      ['radius{<;u:v;p;q}', 'u:v', 'p;q'],
      ['radius{}', '', ''],
      ['radius{$sender_helo_name}', 'a', 'b'],
    ] as const) {
      const by = condition.startsWith('pw') ? 'pwcheck' : 'radius';
      assert.deepEqual((await ask(condition)).asked, [{ by, user, password }], condition);
    }
    assert.deepEqual(await ask('pwcheck{u}'), {
      said: { kind: 'error', reason: 'pwcheck: malformed input - missing colon' },
      asked: [],
    });
  });

  it('take two to four texts for saslauthd', async () => {
    const { asked: full } = await ask('saslauthd{{u}{p}{s}{r}}');
    assert.deepEqual(full, [{ by: 'saslauthd', user: 'u', password: 'p', service: 's', realm: 'r' }]);
    const { asked: short } = await ask('saslauthd{{$sender_helo_name}{p}}');
    assert.deepEqual(short, [{ by: 'saslauthd', user: 'a:b', password: 'p', service: '', realm: '' }]);
  });

  it('are not asked where the answer does not matter', async () => {
    assert.deepEqual((await ask('and{{eq{a}{b}}{pwcheck{u:p}}}')).asked, []);
  });

  it('are errors where nobody can be asked', async () => {
    assert.deepEqual(await expandText('${if radius{u:p}{y}{n}}', scopeWith()), {
      kind: 'error',
      reason: 'no password can be checked here: radius',
    });
  });
});

describe('the query of ldapauth', () => {
  const local = '$local_part';
  const url = 'ldap://good/';

  it('takes what comes from the wire where it is quoted for its place', async () => {
    const { asked: questions } = await ask(
      `ldapauth{user="uid=\${quote_ldap_dn:${local}},dc=test" pass=\${quote:${local}} ${url}}`,
    );
    assert.deepEqual(questions, [
      {
        by: 'ldapauth',
        query: 'user="uid=x%20ldap%3A%2F%2Fevil%2F,dc=test" pass="x ldap://evil/" ldap://good/',
      },
    ]);
    assert.equal((await ask(`ldapauth{user=a pass=b ${url}}`)).said, 'y');
  });

  it('is refused where that could name another server, without telling the password', async () => {
    for (const query of [
      `user=a pass="${local}" ${url}`,
      `user=a pass=${local} ${url}`,
      `user="${local}" pass=b ${url}`,
      `user=a pass="\${quote:${local}}" ${url}`,
      `user=\${quote:${local}} pass=b ${url}`,
      `user="cn=\${quote:${local}}" pass=b ${url}`,
      `user=a pass=\${quote:b}${local} ${url}`,
      `user=a pass=b ldap://${local}/`,
      local,
    ]) {
      const { said, asked: questions } = await ask(`ldapauth{${query}}`);
      assert.deepEqual(questions, [], query);
      assert.match(typeof said === 'string' ? said : said.reason, /^tainted text in the query of ldapauth/);
      assert.doesNotMatch(JSON.stringify(said), /evil/);
    }
  });
});
