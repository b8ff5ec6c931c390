// What the databases of the lookup tests hold.

/** Statements are parted by a semicolon and a space. */
export const table: string = [
  'create table users(id varchar(50), name varchar(50), home varchar(50), n int)',
  "insert into users values ('a','Mister X','/home/a',1)",
  "insert into users values ('b','','/home/b',2)",
  "insert into users values ('c',NULL,'q\"u o',3)",
  "insert into users values ('d','caf\u00e9','tab\there',4)",
  "insert into users values ('e','\"x','line\nbreak',5)",
  '',
].join('; ');

export const ldif: string = `dn: dc=test
objectClass: domain
dc: test

dn: ou=people,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=private,dc=test
objectClass: organizationalUnit
ou: private

dn: uid=fred,ou=people,dc=test
objectClass: inetOrgPerson
uid: fred
cn: Fred
sn: Comma, Name
mail: fred@a.test
mail: f,red@b.test
description: quote " back \\ slash
telephoneNumber: 1

dn: uid=jane,ou=people,dc=test
objectClass: inetOrgPerson
uid: jane
cn: Jane
sn: Doe
mail: jane@a.test
userPassword:: /v8B

dn: cn=Sp\\, ace,ou=people,dc=test
objectClass: inetOrgPerson
cn: Sp, ace
sn:: w6k=
description:: bGluZTEKbGluZTI=
`;
