// The zone of the DNS tests; the form is that of dns-server.ts.
export const zone: string = `
test 300 SOA ns.test hostmaster.test 1 2 3 4 60
test 300 NS ns.test
test 300 NS ns2.test
ns.test 300 A 127.0.0.1
ns2.test 300 A 127.0.0.1
a.test 300 A 192.0.2.1
a.test 60 A 192.0.2.2
a.test 300 AAAA 2001:db8::1
b.test 300 A 192.0.2.3
six.test 300 AAAA 2001:db8::2
www.test 300 CNAME a.test
loop.test 300 CNAME loop.test
far.test 300 CNAME www.test
unchased.test 300 CNAME a.test
unchased.test 0 NOCHASE
dangling.test 300 CNAME nothere.test
mx.test 300 MX 20 mx2.test
mx.test 300 MX 10 mx1.test
mx.test 300 MX 10 local.test
mx1.test 300 A 192.0.2.11
mx2.test 300 A 192.0.2.12
local.test 300 A 127.0.0.1
primary.test 300 MX 5 local.test
primary.test 300 MX 10 mx1.test
secondary.test 300 MX 5 mx1.test
secondary.test 300 MX 10 local.test
foreign.test 300 MX 5 mx1.test
nullmx.test 300 MX 0 .
missingmx.test 300 MX 5 nothere.test
deadmx.test 0 RCODE 2
txt.test 300 TXT "one" " two"
txt.test 300 TXT "v=spf1 -all"
spf.test 300 SPF "v=spf1 " "ip4:192.0.2.1"
spftxt.test 300 TXT "v=spf1 " "-all"
spftxt.test 300 TXT "other"
_smtp._tcp.srv.test 300 SRV 1 2 25 a.test
_smtp._tcp.srv.test 300 SRV 3 4 26 b.test
_25._tcp.a.test 300 TLSA 3 1 1 00ff10ab
1.2.0.192.in-addr.arpa 300 PTR a.test
1.2.0.192.in-addr.arpa 300 PTR alias.test
9.2.0.192.in-addr.arpa 300 PTR liar.test
liar.test 300 A 192.0.2.200
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa 300 PTR a.test
sub.zone.test 300 NS ns.sub.zone.test
sub.zone.test 300 SOA ns.sub.zone.test root.sub.zone.test 7 8 9 10 11
x.sub.zone.test 300 A 192.0.2.50
fail.test 0 RCODE 2
refused.test 0 RCODE 5
drop.test 0 DROP
secure.test 300 A 192.0.2.60
secure.test 0 AD
_client._smtp.csa.test 300 SRV 1 2 0 csahost.test
csahost.test 300 A 192.0.2.70
_client._smtp.csano.test 300 SRV 1 1 0 csahost.test
_client._smtp.csaport.test 300 SRV 1 2 1 csahost.test
_client._smtp.csax.test 300 SRV 1 3 1 csahost.test
_client._smtp.csaold.test 300 SRV 2 2 0 csahost.test
_client._smtp.csalow.test 300 SRV 1 0 0 csahost.test
_client._smtp.csasub.test 300 SRV 1 2 1 csahost.test
sub.csasub.test 300 A 192.0.2.71
long.test 300 TXT "0123456789012345678901234567890123456789"
long.test 0 TRUNCATE
weird.test 300 TXT ""
csa.test 300 SOA ns.test root.test 1 2 3 4 5
csaport.test 300 SOA ns.test root.test 1 2 3 4 5
_client._smtp.inner.csa.test 300 SRV 1 2 1 csahost.test
zeros.test 300 AAAA 2001:0:0:1:0:0:0:1
ones.test 300 AAAA 0:0:0:0:0:0:0:1
mapped.test 300 AAAA 0:0:0:0:0:ffff:c000:0201
_client._smtp.nodata.csaport.test 300 A 192.0.2.72
_client._smtp.plain.alone 300 SRV 1 2 1 csahost.test
`;
