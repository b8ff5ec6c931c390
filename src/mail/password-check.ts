/** Questions about passwords that others answer (Exim manual, "Expansion conditions": ldapauth, pwcheck, radius, saslauthd). */

/** Texts hold one octet a character. */
export type PasswordQuestion =
  /** `query` holds the name, the password and the server: `user="..." pass="..." ldap://host/`. */
  | { readonly by: 'ldapauth'; readonly query: string }
  | { readonly by: 'pwcheck' | 'radius'; readonly user: string; readonly password: string }
  | {
      readonly by: 'saslauthd';
      readonly user: string;
      readonly password: string;
      readonly service: string;
      readonly realm: string;
    };

export type PasswordAnswer =
  | { readonly kind: 'accepted' | 'rejected' }
  /** Who was asked could not say. The reason does not tell the password. */
  | { readonly kind: 'unknown'; readonly reason: string };
