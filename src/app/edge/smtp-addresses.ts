/** Where the daemon listens (Exim manual, "Starting a listening daemon", "Specifying ports for the daemon"). */
import { isIP } from 'node:net';
import type { ConfigModel } from '../../config/model.ts';
import { splitList } from '../../mail/list-text.ts';
import { portNumber } from '../transports.ts';

export interface SmtpAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Addresses and ports from `local_interfaces` and `daemon_smtp_ports`. -oX takes their place: items with a dot or colon are
 * interfaces, others are ports. An interface may carry a port: `192.0.2.1.2525`, `[192.0.2.1]:2525`, `[::1]:2525`.
 */
export function smtpAddresses(options: ConfigModel['main'], oX: string | undefined): SmtpAddress[] {
  const given = oX === undefined ? [] : splitList(oX);
  const isPort = (item: string): boolean => !/[.:]/.test(item);
  const ports = given.some(isPort) ? given.filter(isPort) : splitList(options.daemon_smtp_ports);
  const interfaces = given.some((item) => !isPort(item))
    ? given.filter((item) => !isPort(item))
    : options.local_interfaces;
  const numbers = ports.filter((p) => p !== '').map((p) => portNumber(p, 'daemon_smtp_ports'));
  const addresses = interfaces
    .filter((item) => item !== '')
    .flatMap((item) => {
      const { host, port } = readInterface(item);
      return port === undefined ? numbers.map((n) => ({ host, port: n })) : [{ host, port }];
    });
  if (addresses.length === 0)
    throw new Error(
      oX === undefined
        ? 'local_interfaces names no address to listen on'
        : `-oX: "${oX}" names no port or interface`,
    );
  return addresses;
}

function readInterface(item: string): { readonly host: string; readonly port?: number } {
  const bracketed = /^\[([^\]]+)\]:(\d+)$/.exec(item);
  const dotted = /^(\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*)\.(\d+)$/.exec(item);
  const found = bracketed ?? dotted;
  const host = found?.[1] ?? item;
  const address = host === '::0' ? '::' : host;
  if (isIP(address) === 0)
    throw new Error(`local_interfaces: "${item}" is not an IP address, or one with a port`);
  return found === null
    ? { host: address }
    : { host: address, port: portNumber(found[2] ?? '', 'local_interfaces') };
}
