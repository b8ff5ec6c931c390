// The configurations that are compared: the same routers and transports for the real Exim and for ours.
export interface Hop {
  /** Where mail is handed to, by LMTP. */
  readonly port: number;
  readonly socket: string;
}

export const relayMain = `domainlist local_domains = example.test
acl_smtp_rcpt = acl_check_rcpt
smtp_accept_max = 1100
smtp_accept_max_per_connection = 1000000
recipients_max = 100000`;

/** Main options that only Exim needs to be at its best. */
export const eximMain = `smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 512
queue_run_max = 10
acl_smtp_data = acl_accept`;

export function relayRest(link: 'tcp' | 'unix', hop: Hop, extra = ''): string {
  return `begin acl
acl_accept:
  accept
acl_check_rcpt:
  accept domains = +local_domains
  deny message = relay not permitted
begin routers
myusers:
  driver = manualroute
  domains = +local_domains
  transport = mylmtp
${link === 'tcp' ? '  route_list = "* 127.0.0.1 byname"\n  self = send' : '  route_data = whatmeworry'}
begin transports
mylmtp:
${link === 'tcp' ? `  driver = smtp\n  protocol = lmtp\n  port = ${hop.port}\n  allow_localhost\n  max_rcpt = 200\n  hosts_try_fastopen =` : `  driver = lmtp\n  socket = ${hop.socket}\n  batch_max = 200`}
${extra}
begin retry
*  *  F,2h,1m
`;
}

/** First lines of the RCPT ACL that ask the store about every recipient; `callout` is `callout` with its parameters. */
export function verifyingAcl(callout: string): string {
  return `  deny message = invalid recipient
       domains = +local_domains
       !verify = recipient/${callout}
`;
}
