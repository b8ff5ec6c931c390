/**
 * redis: one command (Exim manual, "More about Redis"), with the package `redis`. The command's words are parted by white
 * space; a backslash takes the next character as it is, which is what `${quote_redis:` makes use of.
 */
import type { RedisClientOptions, RedisFunctions, RedisModules, RedisScripts, RespVersions } from 'redis';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { messageOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import {
  askServers,
  chooseServers,
  hostField,
  LateAnswer,
  perServer,
  serverFields,
  serverLimits,
  withDeadline,
  type ServerAnswer,
  type ServerLimits,
  type ServerList,
} from './servers.ts';

type Options = RedisClientOptions<RedisModules, RedisFunctions, RedisScripts, RespVersions>;

const redis = optionalPackage('redis', 'redis', () => import('redis'));

/** What of a client is used here; replies hold buffers. */
interface Client {
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  sendCommand(words: readonly Buffer[], options: object): Promise<unknown>;
  destroy(): void;
}

interface Connection {
  readonly client: Client;
  readonly ready: Promise<unknown>;
  /** It has been ready once. */
  opened: boolean;
}

const maxWords = 32;

/** Commands that only read: their answers are kept for a moment. */
const reading =
  /^\s*(?:get|mget|hget|hmget|hgetall|exists|hexists|sismember|smembers|lrange|lindex|zscore)\s/i;

/** @param servers items of `redis_servers`: `host:port/database number/password` or `(socket)/...` */
export function createRedis(servers: readonly string[], limits: ServerLimits = serverLimits): LookupDriver {
  const list: ServerList = { name: 'Redis', option: 'redis_servers', configured: servers };
  let create: ((options: Options) => Client) | undefined;
  // One connection a server serves all: commands are pipelined on it.
  const connections = perServer<Connection | string>(
    (server) => {
      const options = clientOptions(list, server, limits);
      if (typeof options === 'string') return options;
      if (create === undefined) return 'redis is not loaded';
      const client = create(options);
      const ready = client.connect();
      const connection = { client, ready, opened: false };
      ready.then(
        () => void (connection.opened = true),
        () => undefined,
      );
      return connection;
    },
    (c) => void (typeof c === 'string' || destroy(c.client)),
  );

  const ask = async (server: string, words: readonly Buffer[], reads: boolean): Promise<ServerAnswer> => {
    let connection = connections.get(server);
    if (typeof connection !== 'string' && connection.opened && !connection.client.isReady) {
      // The server ended it meanwhile.
      connections.drop(server, connection);
      connection = connections.get(server);
    }
    if (typeof connection === 'string') return { kind: 'defer', reason: connection };
    let sent = false;
    try {
      const work = connection.ready.then(() => {
        sent = true;
        return connection.client.sendCommand(words, {});
      });
      return replyAnswer(await withDeadline(work, limits.queryTimeoutMs, () => destroy(connection.client)));
    } catch (e) {
      const text = messageOf(e);
      if (isErrorReply(e))
        return text.startsWith('MOVED')
          ? { kind: 'next', reason: `REDIS: cluster redirect ${text}` }
          : { kind: 'defer', reason: `REDIS: lookup result failed: ${text}` };
      // A broken connection is made anew by the next question.
      connections.drop(server, connection);
      // What may have changed data is not sent again.
      if (sent && !reads) return { kind: 'defer', reason: `REDIS: ${text}` };
      return { kind: 'next', reason: `REDIS: ${text}`, broken: sent && !(e instanceof LateAnswer) };
    }
  };

  return {
    type: 'redis',
    style: 'query',
    quotes: true,
    keepMs: (key) => (reading.test(key.replace(/^\s*servers\s*=[^;]*;/, '')) ? 1000 : 0),
    async find(_, key, options, quoted = false): Promise<DriverAnswer> {
      const chosen = chooseServers(list, key, options, quoted);
      if (typeof chosen === 'string') return { kind: 'defer', reason: chosen };
      const words = splitCommand(chosen.query);
      if (words.length === 0) return { kind: 'defer', reason: 'REDIS: the query is empty' };
      if (words.length > maxWords)
        return { kind: 'defer', reason: `REDIS: the query has more than ${maxWords} words` };
      const loaded = await redis();
      if (loaded.kind !== 'loaded') return loaded;
      const { createClient, RESP_TYPES } = loaded.module;
      create = (o) =>
        createClient(o)
          .on('error', () => undefined)
          .withTypeMapping({
            [RESP_TYPES.BLOB_STRING]: Buffer,
            [RESP_TYPES.SIMPLE_STRING]: Buffer,
          });
      return askServers(chosen.servers, (server) => ask(server, words, reading.test(`${chosen.query} `)));
    },
    close: () => connections.clear(),
  };
}

function destroy(client: Client): void {
  try {
    client.destroy();
  } catch {
    // it was closed already
  }
}

/** The server answered with an error. */
function isErrorReply(e: unknown): boolean {
  return e instanceof Error && /^(?:ErrorReply|SimpleError|BlobError)$/.test(e.constructor.name);
}

export function splitCommand(query: string): Buffer[] {
  const words = query.match(/(?:\\[\s\S]|[^\\\s])+/g) ?? [];
  return words.map((w) => Buffer.from(w.replace(/\\([\s\S])/g, '$1'), 'latin1'));
}

function clientOptions(list: ServerList, server: string, limits: ServerLimits): Options | string {
  const fields = serverFields(list, server, 2);
  if (typeof fields === 'string') return fields;
  const [where = '', database = '', password = ''] = fields;
  if (database !== '' && !/^\d+$/.test(database)) return `Redis database "${database}" is not a number`;
  const { host, port, socket } = hostField(where);
  const common = { connectTimeout: limits.connectTimeoutMs, reconnectStrategy: false as const };
  return {
    socket: socket === undefined ? { ...common, host, port: port ?? 6379 } : { ...common, path: socket },
    ...(database === '' ? {} : { database: Number(database) }),
    ...(password === '' ? {} : { password }),
    commandsQueueMaxLength: limits.maxWaiting,
    RESP: 2,
  };
}

/** What Exim makes of a reply: no value is the empty text, a number `true` or `false`, items of an array are lines. */
function replyAnswer(reply: unknown): DriverAnswer {
  if (reply === null) return { kind: 'found', value: '', keepMs: 0 };
  if (typeof reply === 'number' || typeof reply === 'bigint')
    return { kind: 'found', value: Number(reply) === 0 ? 'false' : 'true' };
  if (!Array.isArray(reply)) return { kind: 'found', value: textOfReply(reply) };
  if (reply.length === 0) return { kind: 'missing' };
  const lines = (reply as readonly unknown[]).flatMap((item) =>
    Array.isArray(item) ? (item as readonly unknown[]).map(textOfReply) : [textOfReply(item)],
  );
  return { kind: 'found', value: lines.join('\n') };
}

function textOfReply(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
  if (typeof reply === 'string') return Buffer.from(reply, 'utf8').toString('latin1');
  return typeof reply === 'number' || typeof reply === 'bigint' ? reply.toString() : '';
}
