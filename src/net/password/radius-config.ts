/**
 * The configuration of RADIUS clients as the radiusclient libraries have it (radiusclient.conf(5) of radcli; Exim manual,
 * condition "radius"): `key value` a line, and a file of servers with their secrets.
 */
import { readFileSync } from 'node:fs';
import { isIP, isIPv4 } from 'node:net';
import { systemErrorText } from '../system-error.ts';

export interface RadiusServer {
  readonly host: string;
  readonly port: number;
  /** Octets, one a character. */
  readonly secret: string;
}

export interface RadiusConfig {
  /** Asked in this order. */
  readonly servers: readonly [RadiusServer, ...RadiusServer[]];
  readonly timeoutMs: number;
  /** How often a request is sent to a server that does not answer, the first time included. */
  readonly attempts: number;
  /** The address to send from. */
  readonly bindAddress: string | undefined;
  readonly nasIdentifier: string | undefined;
  readonly nasIp: string | undefined;
  /** Replies without a Message-Authenticator do not count (CVE-2024-3596). */
  readonly requireSigned: boolean;
}

const defaultPort = 1812;
const maxServers = 8;
const maxFileOctets = 64 * 1024;

/** Keys that say nothing about a question about a password. */
const irrelevant = new Set(
  'acctserver auth_order clientdebug dictionary issue login_local login_radius login_timeout login_tries mapfile nologin seqfile'.split(
    ' ',
  ),
);

/** Reads the file at `path` and the file of secrets that it names; a text says what is wrong. */
export function readRadiusConfig(path: string): RadiusConfig | string {
  const text = readText(path);
  if (typeof text !== 'string') return `RADIUS: can't open ${path}: ${text.problem}`;
  const servers: string[] = [];
  let secrets: string | undefined;
  let timeoutMs = 10_000;
  let attempts = 4;
  let bindAddress: string | undefined;
  let nasIdentifier: string | undefined;
  let nasIp: string | undefined;
  let requireSigned = true;
  for (const [number, key, value] of settings(text)) {
    const wrong = `RADIUS: ${path}:${number}: ${key} ${value}: `;
    const count = (least: number, most: number): number | undefined =>
      /^\d{1,4}$/.test(value) && Number(value) >= least && Number(value) <= most ? Number(value) : undefined;
    switch (key) {
      case 'authserver':
        servers.push(...value.split(/[\s,]+/));
        break;
      case 'servers':
        secrets = value;
        break;
      case 'radius_timeout': {
        const seconds = count(1, 60);
        if (seconds === undefined) return `${wrong}must be 1 to 60 seconds`;
        timeoutMs = seconds * 1000;
        break;
      }
      case 'radius_retries': {
        const retries = count(0, 10);
        if (retries === undefined) return `${wrong}must be 0 to 10`;
        attempts = retries + 1;
        break;
      }
      case 'radius_deadtime':
        // Every question asks the first server first.
        break;
      case 'bindaddr':
        if (value !== '*' && isIP(value) === 0) return `${wrong}must be * or an address`;
        bindAddress = value === '*' ? undefined : value;
        break;
      case 'nas-identifier':
        nasIdentifier = value.slice(0, 253);
        break;
      case 'nas-ip':
        if (!isIPv4(value)) return `${wrong}must be an IPv4 address`;
        nasIp = value;
        break;
      case 'require-message-authenticator':
        if (!/^(?:yes|no|true|false)$/i.test(value)) return `${wrong}must be yes or no`;
        requireSigned = /^(?:yes|true)$/i.test(value);
        break;
      case 'serv-type':
      case 'serv-auth-type':
        if (value.toLowerCase() !== 'udp') return `${wrong}only udp is supported`;
        break;
      default:
        // `default_realm` and the like are there without a value.
        if (value !== '' && !irrelevant.has(key)) return `${wrong}is not supported`;
    }
  }
  const full: RadiusServer[] = [];
  for (const item of servers.slice(0, maxServers)) {
    const server = parseServer(item);
    if (server === undefined) return `RADIUS: ${path}: authserver ${item.split(':')[0] ?? ''}: malformed`;
    const secret = server.secret ?? findSecret(secrets, server.host);
    if (typeof secret !== 'string') return secret.problem;
    full.push({ ...server, secret });
  }
  const [first, ...others] = full;
  if (first === undefined) return `RADIUS: ${path}: no authserver`;
  return {
    servers: [first, ...others],
    timeoutMs,
    attempts,
    bindAddress,
    nasIdentifier,
    nasIp,
    requireSigned,
  };
}

interface Problem {
  readonly problem: string;
}

function readText(path: string): string | Problem {
  try {
    const text = readFileSync(path, 'latin1');
    return text.length > maxFileOctets ? { problem: `longer than ${maxFileOctets} octets` } : text;
  } catch (e) {
    return { problem: systemErrorText(e) };
  }
}

/** Lines of two words or more: the first, and the rest. */
function settings(text: string): (readonly [number: number, key: string, value: string])[] {
  return text.split('\n').flatMap((raw, i) => {
    const line = raw.trim();
    const m = /^(\S+)(?:\s+(.*))?$/s.exec(line);
    return m === null || line.startsWith('#') ? [] : [[i + 1, m[1] ?? '', m[2] ?? ''] as const];
  });
}

/** `host`, `host:port`, `host:port:secret`, `[address]:port`. */
function parseServer(text: string): { host: string; port: number; secret: string | undefined } | undefined {
  const m = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5})?(?::(.+))?)?$/s.exec(text);
  const port = m?.[3] === undefined ? defaultPort : Number(m[3]);
  const host = m?.[1] ?? m?.[2];
  return host === undefined || port < 1 || port > 0xffff ? undefined : { host, port, secret: m?.[4] };
}

/** The secret stands beside the server's name as `authserver` has it; of `name1/name2` either counts. */
function findSecret(file: string | undefined, host: string): string | Problem {
  if (file === undefined) return { problem: `RADIUS: no secret for ${host}: there is no line "servers"` };
  const text = readText(file);
  if (typeof text !== 'string') return { problem: `RADIUS: can't open ${file}: ${text.problem}` };
  const wanted = host.toLowerCase();
  for (const [, names, secret] of settings(text))
    if (secret !== '' && names.toLowerCase().split('/').includes(wanted)) return secret;
  return { problem: `RADIUS: no secret for ${host} in ${file}` };
}
