/** Handing mail on to other servers, by a store's options. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { StoreInstance } from '../../config/model.ts';
import { errorText } from '../../mail/error-text.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import { formatProxyEvent } from '../../store/proxy/events.ts';
import { createStoreProxy, type StoreProxy } from '../../store/proxy/proxy.ts';

/** @param listening where the store listens; may be filled later */
export function openProxy(
  { name, options: o }: StoreInstance,
  hostname: string,
  listening: readonly string[],
  logs: Logs,
): StoreProxy {
  const trusted = o.proxy_tls_verify_certificates;
  return createStoreProxy({
    hostname,
    timeoutMs: o.proxy_timeout,
    connectTimeoutMs: o.proxy_connect_timeout,
    maxConnections: o.proxy_max_connections,
    idleTimeoutMs: o.proxy_idle_timeout,
    verifyCertificates: trusted !== '',
    ...(trusted === '' || trusted === 'system' ? {} : { trustedCertificates: readTrusted(name, trusted) }),
    isOurself: (host, port) => listensAt(listening, host, port),
    onEvent: (event) => logs.main(logText(formatProxyEvent(event, process.pid))),
  });
}

function readTrusted(store: string, file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    throw new Error(`${store} store: proxy_tls_verify_certificates: ${errorText(error)}`, { cause: error });
  }
}

/** A wildcard listens at every address of this machine. */
export function listensAt(listening: readonly string[], host: string, port: number): boolean {
  return listening.some((text) => {
    // Behind the port may stand a word about TLS.
    const [, given = '', givenPort] = /^(.*):(\d+)(?: .*)?$/.exec(text) ?? [];
    const at = given.replace(/^\[(.*)\]$/, '$1');
    if (Number(givenPort) !== port || isIP(at) === 0) return false;
    return same(at, host) || ((at === '::' || (at === '0.0.0.0' && isIP(host) === 4)) && isOwn(host));
  });
}

function isOwn(host: string): boolean {
  if (host.startsWith('127.') || ['::1', '::', '0.0.0.0'].includes(host)) return true;
  return Object.values(networkInterfaces()).some((all) => all?.some((i) => same(i.address, host)));
}

/** Addresses of version 6 are written in many ways; a URL writes them in one. */
function same(a: string, b: string): boolean {
  return a === b || (isIP(a) === 6 && isIP(b) === 6 && canonical(a) === canonical(b));
}

function canonical(v6: string): string {
  const url = `http://[${v6}]/`;
  return URL.canParse(url) ? new URL(url).host : v6;
}
