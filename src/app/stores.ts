/** The stores of a configuration: LMTP servers that deliver into mailboxes of this machine. */
import type { StoreInstance } from '../config/model.ts';
import { parseListenAddress } from '../config/listen-address.ts';
import type { Directory, DirectoryAnswer } from '../directory/directory.ts';
import { openPasswdFile } from '../directory/drivers/passwd-file.ts';
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { createLmtpServer, type LmtpIncident, type LmtpServer } from '../lmtp/server/index.ts';
import { assertNever } from '../mail/assert-never.ts';
import { isSafeSegment } from '../mail/mail-location.ts';
import type { MailUser } from '../mail/mail-user.ts';
import { logText } from '../observe/log-text.ts';
import type { Logs } from '../observe/logs.ts';
import { openMaildirStore } from '../store/drivers/maildir/maildir.ts';
import { formatStoreEvent } from '../store/events.ts';
import { createStoreHandler } from '../store/lmtp-handler.ts';
import type { Program } from './program.ts';
import { groupNumber, userNumber } from './user-numbers.ts';

export interface RunningStore {
  readonly name: string;
  /** UNIX sockets, and addresses with ports. */
  readonly listening: readonly string[];
  /** Some of its users, for people; undefined where they cannot be listed. */
  readonly users: readonly string[] | undefined;
  /** Takes no more connections; sessions end at their next command, and after `graceMs` in any case. A second call can only shorten it. */
  stop(graceMs: number): Promise<void>;
}

export async function startStores(program: Program, logs: Logs): Promise<readonly RunningStore[]> {
  const running: RunningStore[] = [];
  try {
    for (const instance of program.model.stores) running.push(await startStore(instance, program, logs));
  } catch (error) {
    await Promise.all(running.map((s) => s.stop(0)));
    throw error;
  }
  return running;
}

async function startStore(instance: StoreInstance, program: Program, logs: Logs): Promise<RunningStore> {
  const o = instance.options;
  const { main, services } = program;
  const scope = { main, services };
  const hostname = o.hostname ?? main.primaryHostname;
  const users = openPasswdFile({
    file: required(o.passwd_file, instance.name, 'passwd_file'),
    usernameFormat: o.username_format === 'address' ? 'address' : 'local-part',
    onProblem: (text) => logs.panic(logText(text)),
  });
  const directory = withMaildir(users, required(o.maildir, instance.name, 'maildir'), scope);
  const uid = o.user === undefined ? undefined : known(userNumber(o.user), instance.name, `user "${o.user}"`);
  const gid =
    o.group === undefined ? undefined : known(groupNumber(o.group), instance.name, `group "${o.group}"`);
  const store = openMaildirStore({
    fsync: o.mail_fsync,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const handler = createStoreHandler({
    directory,
    store,
    hostname,
    recipientDelimiter: o.recipient_delimiter,
    onEvent: (event) => logs.main(logText(formatStoreEvent(event, process.pid))),
  });
  const server = createLmtpServer(
    {
      hostname,
      limits: { maxMessageOctets: o.message_size_limit },
      onIncident: (incident) => logs.main(`${instance.name}: ${incidentText(incident)}`),
    },
    handler,
  );
  const listening: string[] = [];
  try {
    await listenEverywhere(server, instance, listening);
  } catch (error) {
    await server.close();
    throw error;
  }
  let closed: Promise<void> | undefined;
  return {
    name: instance.name,
    listening,
    users: users.list(20),
    stop(graceMs) {
      const ended = server.close(graceMs);
      return (closed ??= ended.then(async () => {
        await store.close();
        await directory.close();
      }));
    },
  };
}

async function listenEverywhere(
  server: LmtpServer,
  instance: StoreInstance,
  listening: string[],
): Promise<void> {
  const o = instance.options;
  const options = { backlog: 1024, unixMode: o.socket_mode, maxConnections: o.max_connections };
  for (const path of o.sockets ?? []) {
    await server.listen({ kind: 'unix', path }, options);
    listening.push(path);
  }
  for (const text of o.listen ?? []) {
    const address = parseListenAddress(text);
    if (address === undefined)
      throw new Error(`${instance.name} store: "${text}" is not an address with a port`);
    const { address: bound } = await server.listen({ kind: 'tcp', ...address }, options);
    if (bound.kind === 'tcp') listening.push(`${bound.host}:${bound.port}`);
  }
}

/** Gives users a Maildir by the option `maildir`, where their own entry names none. */
function withMaildir(directory: Directory, template: string, scope: ExpandScope): Directory {
  function locate(user: MailUser): DirectoryAnswer | Promise<DirectoryAnswer> {
    if (user.maildir !== undefined) return { kind: 'found', user };
    const at = user.username.lastIndexOf('@');
    const local = at < 0 ? user.username : user.username.slice(0, at);
    const domain = at < 0 ? '' : user.username.slice(at + 1);
    if (!isSafeSegment(local) || (domain !== '' && !isSafeSegment(domain)))
      return { kind: 'unavailable', reason: `user name "${user.username}" cannot be part of a path` };
    const address = { local, domain, localPartData: local, ...(domain === '' ? {} : { domainData: domain }) };
    const extra = new Map([['home', { text: user.home ?? '', tainted: false }]]);
    const result = expandText(template, { ...scope, address, extra });
    return result instanceof Promise ? result.then((r) => answer(user, r)) : answer(user, result);
  }
  function answer(user: MailUser, result: Awaited<ReturnType<typeof expandText>>): DirectoryAnswer {
    if (result.kind !== 'ok')
      return {
        kind: 'unavailable',
        reason: `maildir: ${result.kind === 'forced-fail' ? 'forced failure' : result.reason}`,
      };
    if (result.tainted)
      return {
        kind: 'unavailable',
        reason: `maildir: "${template}" uses what came from the wire: use $local_part_data and $domain_data`,
      };
    if (!result.text.startsWith('/') || /(?:^|\/)\.\.?(?:\/|$)/.test(result.text))
      return {
        kind: 'unavailable',
        reason: `maildir: "${result.text}" is not an absolute path without "." and ".."`,
      };
    return { kind: 'found', user: { ...user, maildir: result.text } };
  }
  const found = (a: DirectoryAnswer): DirectoryAnswer | Promise<DirectoryAnswer> =>
    a.kind === 'found' ? locate(a.user) : a;
  return {
    find(address) {
      const a = directory.find(address);
      return a instanceof Promise ? a.then(found) : found(a);
    },
    list: (max) => directory.list(max),
    close: () => directory.close(),
  };
}

function required<T>(value: T | undefined, store: string, option: string): T {
  if (value === undefined) throw new Error(`${store} store: ${option} is not set`);
  return value;
}

/** Of a user or group that the option names. */
function known(number: number | undefined, store: string, option: string): number {
  if (number === undefined) throw new Error(`${store} store: there is no such ${option}`);
  return number;
}

function incidentText(i: LmtpIncident): string {
  const from = i.client === '' ? 'local client' : `[${i.client}]`;
  switch (i.kind) {
    case 'bad-command':
      return `${from}: ${logText(i.command)}: ${logText(i.reply)}`;
    case 'refused-message':
      return `${from}: message refused: ${logText(i.reason)}`;
    case 'timeout':
      return `${from}: timed out waiting for ${i.during}`;
    case 'lost':
      return `${from}: disconnected during ${i.during}`;
    case 'fault':
      return `${from}: ${logText(i.error instanceof Error ? i.error.message : String(i.error))}`;
    default:
      return assertNever(i);
  }
}
