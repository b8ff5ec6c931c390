// What tests of ACLs share: reading a text as an ACL, and an environment to run it in.
import type { ExpandScope, LookupAnswer } from '../expand/scope.ts';
import { createLists } from '../list/match.ts';
import type { Address, Domain, LocalPart } from '../mail/address.ts';
import { formatDiagnostic, type SourceText } from '../mail/diagnostic.ts';
import { reply } from '../mail/reply.ts';
import type { VerifyRequest, VerifyResult } from '../verify/verifier.ts';
import type { Acl } from './ast.ts';
import { newAclMemory, type AclEnvironment, type AclLogEntry } from './environment.ts';
import { parseAcl } from './parse.ts';
import type { AclPhase } from './tables.ts';

export function sourceLines(text: string): SourceText[] {
  return text
    .split('\n')
    .map((line, i) => ({ text: line, position: { file: 'test.conf', line: i + 1, column: 1 } }))
    .filter((line) => line.text.trim() !== '');
}

export function readAcl(name: string, text: string): Acl {
  const { acl, diagnostics } = parseAcl({
    name,
    position: { file: 'test.conf', line: 1, column: 1 },
    lines: sourceLines(text),
  });
  const [first] = diagnostics;
  if (first !== undefined) throw new Error(formatDiagnostic(first));
  return acl;
}

export function addressOf(text: string): Address {
  const at = text.lastIndexOf('@');
  return { local: text.slice(0, at) as LocalPart, domain: text.slice(at + 1) as Domain };
}

export interface TestWorld {
  readonly env: AclEnvironment;
  readonly log: AclLogEntry[];
  readonly verified: { readonly who: 'recipient' | 'sender'; readonly request: VerifyRequest }[];
}

export interface WorldOptions {
  readonly acls?: Readonly<Record<string, string>>;
  readonly named?: Readonly<Record<string, string>>;
  readonly phase?: AclPhase;
  readonly sender?: string;
  readonly recipient?: string;
  readonly verify?: (request: VerifyRequest) => VerifyResult;
  readonly lookup?: (key: string) => LookupAnswer;
  readonly signal?: AbortSignal;
  readonly scope?: Partial<ExpandScope>;
}

export const unrouteable: VerifyResult = {
  kind: 'fail',
  stage: 'route',
  reply: reply(550, undefined, 'Unrouteable address'),
  logReason: 'Unrouteable address',
};

export function world(options: WorldOptions = {}): TestWorld {
  const log: AclLogEntry[] = [];
  const verified: TestWorld['verified'] = [];
  const lists = createLists({ get: (kind, name) => (kind === 'domain' ? options.named?.[name] : undefined) });
  const verify = (who: 'recipient' | 'sender') => (request: VerifyRequest) => {
    verified.push({ who, request });
    return Promise.resolve(options.verify?.(request) ?? ({ kind: 'ok', via: 'route' } as const));
  };
  const phase = options.phase ?? 'rcpt';
  const scope: ExpandScope = {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'example.test',
      qualifyRecipient: 'example.test',
      spoolDirectory: '/var/spool',
      configFile: 'test.conf',
    },
    services: { lookup: (r) => options.lookup?.(r.key) ?? { kind: 'missing' }, matchList: lists.matchList },
    connection: {
      hostAddress: '192.0.2.1',
      hostPort: 1025,
      interfaceAddress: '192.0.2.25',
      interfacePort: 25,
      protocol: 'esmtp',
      variables: new Map(),
      taintedVariables: new Set(),
    },
    ...(phase === 'connect' || phase === 'helo'
      ? {}
      : {
          message: {
            sender: options.sender === '' ? null : addressOf(options.sender ?? 's@sender.test'),
            declaredSize: -1,
            size: -1,
            bodyIs8bit: false,
            recipients: [],
            rcptCount: 1,
            receivedAtMs: 0,
            variables: new Map<string, string>(),
            taintedVariables: new Set<string>(),
          },
        }),
    ...(phase === 'rcpt' ? { address: { ...addressOf(options.recipient ?? 'x@a.test') } } : {}),
    ...options.scope,
  };
  const env: AclEnvironment = {
    acls: new Map(Object.entries(options.acls ?? {}).map(([name, text]) => [name, readAcl(name, text)])),
    lists,
    scope,
    phase,
    verifier: { verifyRecipient: verify('recipient'), verifySender: verify('sender') },
    log: (entry) => void log.push(entry),
    signal: options.signal ?? new AbortController().signal,
    memory: newAclMemory(),
  };
  return { env, log, verified };
}
