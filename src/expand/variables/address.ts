/** Variables of the address at hand (Exim manual, "Expansion variables"). What a client or sender wrote is tainted. */
import { lowerAscii } from '../ascii.ts';
import type { VariableRow } from '../evaluator.ts';
import type { AddressFacts, ExpandScope } from '../scope.ts';
import type { Frame } from '../frame.ts';
import { unquoteLocalPart } from '../address-text.ts';

type Read = (a: AddressFacts, scope: ExpandScope) => string | undefined;

const clean = (read: Read): VariableRow => ({
  read: (f) => (f.scope.address === undefined ? '' : (read(f.scope.address, f.scope) ?? '')),
});
const wire = (read: Read): VariableRow => ({ ...clean(read), tainted: true });

const addressDataTainted = (f: Frame): boolean => f.scope.address?.addressDataTainted !== false;

/** The varying part of an affix cannot be told here, so an affix counts as tainted, which is the safe side. */
export const addressVariables: Readonly<Record<string, VariableRow>> = {
  local_part: wire((a) => (a.asWritten === true ? a.local : unquoteLocalPart(a.local))),
  domain: wire((a) => (a.asWritten === true ? a.domain : lowerAscii(a.domain))),
  local_part_data: {
    ...clean((a) => a.localPartData),
    tainted: (f) => f.scope.address?.localPartDataTainted === true,
  },
  domain_data: { ...clean((a) => a.domainData), tainted: (f) => f.scope.address?.domainDataTainted === true },
  local_part_prefix: wire((a) => a.prefix),
  local_part_suffix: wire((a) => a.suffix),
  local_part_prefix_v: wire((a) => a.prefixWild),
  local_part_suffix_v: wire((a) => a.suffixWild),
  original_local_part: wire((a) =>
    unquoteLocalPart(a.original?.local ?? `${a.prefix ?? ''}${a.local}${a.suffix ?? ''}`),
  ),
  original_domain: wire((a) => lowerAscii(a.original?.domain ?? a.domain)),
  parent_local_part: wire((a) => a.parent && unquoteLocalPart(a.parent.local)),
  parent_domain: wire((a) => a.parent && lowerAscii(a.parent.domain)),
  address_data: { ...clean((a) => a.addressData), tainted: addressDataTainted },
  host: wire((a) => a.host),
  host_address: clean((a) => a.hostAddress),
  host_port: { read: (f) => String(f.scope.address?.hostPort ?? 0) },
  router_name: clean((a) => a.router),
  transport_name: clean((a) => a.transport),
};
