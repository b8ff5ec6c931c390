/** MX records with the addresses of their hosts, for `@mx_any` and its kin in domain lists. */
import type { MailHosts } from '../list/model.ts';
import type { DnsClient } from '../net/dns/client.ts';
import { dnsTypes } from '../net/dns/message.ts';
import { addressText } from '../net/dns/address-text.ts';

const maxHosts = 50;

export function mailHosts(client: DnsClient): (domain: string) => Promise<MailHosts> {
  return async (domain) => {
    const answer = await client.query(domain, dnsTypes.MX);
    if (answer.kind === 'again') return { kind: 'defer', reason: answer.reason };
    if (answer.kind !== 'answer') return { kind: 'missing' };
    const records = answer.records.flatMap(({ data }) => (data.kind === 'mx' ? [data] : []));
    const hosts = await Promise.all(
      records.slice(0, maxHosts).map(async ({ preference, name }) => ({
        preference,
        addresses: await addressesOf(client, name),
      })),
    );
    const found = hosts.filter((h) => h.addresses.length > 0);
    return found.length > 0 ? { kind: 'found', hosts: found } : { kind: 'missing' };
  };
}

/** Addresses that can be found now: a host whose addresses cannot is left out, as one that is down. */
async function addressesOf(client: DnsClient, name: string): Promise<readonly string[]> {
  const answers = await Promise.all([client.query(name, dnsTypes.A), client.query(name, dnsTypes.AAAA)]);
  return answers.flatMap((answer) =>
    answer.kind === 'answer'
      ? answer.records.flatMap(({ data }) => (data.kind === 'address' ? [addressText(data.octets)] : []))
      : [],
  );
}
