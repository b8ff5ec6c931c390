// The page's router, transports and ACL (an Exim in front of Dovecot, by LMTP), with addresses, ports and paths filled in.

export interface StoreAddress {
  readonly port: number;
  readonly socket: string;
}

/** The page's ACL snippet, and what any configuration needs around it. */
export const pageAcl = `begin acl
acl_check_rcpt:
deny
        message = invalid recipient
        domains = +local_domains
        !verify = recipient/callout=no_cache
accept
        domains = +local_domains
deny
        message = relay not permitted
`;

/** For cases where a recipient must fail at delivery: nothing is asked beforehand. */
export const openAcl = `begin acl
acl_check_rcpt:
accept
        domains = +local_domains
deny
        message = relay not permitted
`;

export const pageMain = `domainlist local_domains = example.test
acl_smtp_rcpt = acl_check_rcpt`;

/** "Using LMTP over TCP Socket"; `more` is further options of the transport. */
export function pageTcp(store: StoreAddress, more = ''): string {
  return `begin routers
myusers:
        transport = mylmtp
        domains = +local_domains
        driver = manualroute
        route_list = "* 127.0.0.1 byname"
        #if destination server is the local host enable this
        self = send

begin transports
mylmtp:
        driver = smtp
        protocol = lmtp
        port = ${store.port}
${more}`;
}

/** "Using LMTP over UNIX Socket". */
export function pageUnix(store: StoreAddress): string {
  return `begin transports
mylmtp:
        driver = lmtp
        socket = ${store.socket}
        #maximum number of deliveries per batch, default 1
        batch_max = 200

begin routers
myusers:
        transport = mylmtp
        domains = +local_domains
        driver = manualroute
        route_data = whatmeworry # required but not useful
`;
}

/**
 * A store of our own, as a section, with its users and mail in `folder`; `more` is further options. Its socket is for
 * everybody, since the real Exim asks as its own user.
 */
export function storesSection(store: StoreAddress, folder: string, more = ''): string {
  return `begin directories
users:
        driver = passwd_file
        file = ${folder}/users
        username_format = %Ln

begin stores
mailboxes:
        driver = maildir
        sockets = ${store.socket}
        listen = <; 127.0.0.1:${store.port}
        directories = users
        maildir = ${folder}/mail/$local_part_data
        socket_mode = 0666
${more}`;
}

export const retrySection = `begin retry
*  *  F,2h,1s
`;
