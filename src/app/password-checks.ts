/** Who is asked whether a password is right, by the conditions of `${if` that do (Exim manual, "Expansion conditions"). */
import { existsSync } from 'node:fs';
import type { LdapOptions } from '../lookup/drivers/ldap-session.ts';
import { createLdapAuth } from '../lookup/drivers/ldap-auth.ts';
import { assertNever } from '../mail/assert-never.ts';
import type { PasswordAnswer, PasswordQuestion } from '../mail/password-check.ts';
import { askPwcheck } from '../net/password/pwcheck.ts';
import { askRadius } from '../net/password/radius.ts';
import { askSaslauthd } from '../net/password/saslauthd.ts';

/** What Exim has fixed when it is built. */
export interface PasswordPlaces {
  readonly saslauthdSocket: string;
  readonly pwcheckSocket: string;
  /** The first that exists, or the first. */
  readonly radiusFiles: readonly [string, ...string[]];
}

/** Debian's Exim for saslauthd; the manual's and Exim's own examples for the others, and where Debian's radcli has its file. */
const usualPlaces: PasswordPlaces = {
  saslauthdSocket: '/var/run/saslauthd/mux',
  pwcheckSocket: '/var/pwcheck/pwcheck',
  radiusFiles: ['/etc/radiusclient/radiusclient.conf', '/etc/radcli/radiusclient.conf'],
};

/** Questions under way at most; more are not asked. */
const maxWaiting = 500;

/** @param self this host's name, by which RADIUS servers know who asks */
export function makePasswordChecks(
  ldap: LdapOptions,
  self: string,
  places: PasswordPlaces = usualPlaces,
): (question: PasswordQuestion) => Promise<PasswordAnswer> {
  const askLdap = createLdapAuth(ldap);
  let waiting = 0;
  const ask = (q: PasswordQuestion): Promise<PasswordAnswer> => {
    switch (q.by) {
      case 'ldapauth':
        return askLdap(q.query);
      case 'pwcheck':
        return askPwcheck(places.pwcheckSocket, q);
      case 'radius':
        return askRadius(places.radiusFiles.find((f) => existsSync(f)) ?? places.radiusFiles[0], self, q);
      case 'saslauthd':
        return askSaslauthd(places.saslauthdSocket, q);
      default:
        return assertNever(q);
    }
  };
  return async (question) => {
    if (waiting >= maxWaiting)
      return { kind: 'unknown', reason: `too many questions wait for ${question.by}` };
    waiting++;
    try {
      return await ask(question);
    } finally {
      waiting--;
    }
  };
}
