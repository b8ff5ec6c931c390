/** Asks RADIUS servers whether a password is right: PAP over UDP, sent again until the time is up (RFC 2865 §2.2, §2.5). */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { PasswordAnswer } from '../../mail/password-check.ts';
import { systemErrorText } from '../system-error.ts';
import { type RadiusConfig, readRadiusConfig, type RadiusServer } from './radius-config.ts';
import {
  type AccessQuestion,
  accessRequestOf,
  maxPasswordOctets,
  maxUserOctets,
  readReply,
} from './radius-packet.ts';

/** For all servers and attempts together. */
const defaultLimitMs = 60_000;

type ServerAnswer = PasswordAnswer | { readonly kind: 'silent'; readonly reason: string };

/**
 * @param configFile in the format of radiusclient.conf; read for every question
 * @param self `NAS-Identifier` where the file has none
 */
export async function askRadius(
  configFile: string,
  self: string,
  { user, password }: { readonly user: string; readonly password: string },
  limitMs: number = defaultLimitMs,
): Promise<PasswordAnswer> {
  const config = readRadiusConfig(configFile);
  if (typeof config === 'string') return unknown(config);
  if (user === '' || user.length > maxUserOctets)
    return unknown(`RADIUS: add user name failed: it has ${user.length} octets`);
  if (password.length > maxPasswordOctets)
    return unknown(`RADIUS: add password failed: it has more than ${maxPasswordOctets} octets`);
  // Passwords are filled up with zero octets: one within could not be told from the end.
  if (password.includes('\0')) return { kind: 'rejected' };
  const question: AccessQuestion = {
    user,
    password,
    identifier: config.nasIdentifier ?? self.slice(0, maxUserOctets),
    nasIp: config.nasIp,
  };
  const endMs = performance.now() + limitMs;
  let reason = 'RADIUS: timed out';
  for (const server of config.servers) {
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) break;
    const answer = await askServer(server, question, config, leftMs);
    if (answer.kind !== 'silent') return answer;
    ({ reason } = answer);
  }
  return unknown(reason);
}

async function askServer(
  server: RadiusServer,
  question: AccessQuestion,
  config: RadiusConfig,
  leftMs: number,
): Promise<ServerAnswer> {
  const address = await addressOf(server.host, Math.min(config.timeoutMs, leftMs));
  if (address === undefined) return { kind: 'silent', reason: `RADIUS: no address for ${server.host}` };
  const secret = Buffer.from(server.secret, 'latin1');
  const request = accessRequestOf(question, secret);
  return new Promise((resolve) => {
    // Connected: what others send does not arrive.
    const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
    let sent = 0;
    let silence = 'RADIUS: timed out';
    let retry: NodeJS.Timeout | undefined;
    const settle = (answer: ServerAnswer): void => {
      clearTimeout(limit);
      clearTimeout(retry);
      // It may have failed before it was open.
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    const limit = setTimeout(() => settle({ kind: 'silent', reason: silence }), leftMs);
    const send = (): void => {
      if (sent === config.attempts) return settle({ kind: 'silent', reason: silence });
      sent++;
      retry = setTimeout(send, config.timeoutMs);
      // A server that is not there now may be in a moment: the next attempt tells.
      socket.send(request.octets, () => undefined);
    };
    socket.on('connect', send);
    socket.on('message', (octets) => {
      const reply = readReply(octets, request, secret, config.requireSigned);
      switch (reply.kind) {
        case 'accept':
          return settle({ kind: 'accepted' });
        case 'reject':
          return settle({ kind: 'rejected' });
        case 'other':
          return settle(unknown(`RADIUS: unexpected response (${reply.code})`));
        case 'unsigned':
          silence = `RADIUS: replies of ${server.host} have no Message-Authenticator; "require-message-authenticator no" would take them`;
          return undefined;
        case 'none':
          return undefined;
      }
    });
    socket.on('error', (e: NodeJS.ErrnoException) => {
      // ICMP's word that nobody listens: send again when it is time.
      if (e.code === 'ECONNREFUSED') return;
      settle({ kind: 'silent', reason: `RADIUS: ${server.host}: ${systemErrorText(e)}` });
    });
    if (config.bindAddress === undefined) socket.connect(server.port, address);
    else socket.bind({ address: config.bindAddress }, () => socket.connect(server.port, address));
  });
}

async function addressOf(host: string, timeoutMs: number): Promise<string | undefined> {
  if (isIP(host) !== 0) return host;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([
      lookup(host).then(
        (found) => found.address,
        () => undefined,
      ),
      late,
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function unknown(reason: string): PasswordAnswer {
  return { kind: 'unknown', reason };
}
