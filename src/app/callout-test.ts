/** `mailchute callout test`: routes an address and asks its server, step by step for people to see. */
import { openLmdbHints } from '../hints/drivers/lmdb.ts';
import path from 'node:path';
import { expandText } from '../expand/expand.ts';
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import {
  type Address,
  formatAddress,
  isSyntaxError,
  parseAddress,
  type ReversePath,
} from '../mail/address.ts';
import { endpointKey } from '../mail/endpoint.ts';
import { formatReply, type Reply, replySummary } from '../mail/reply.ts';
import { logText } from '../observe/log-text.ts';
import { route } from '../router/route.ts';
import { createCalloutCache } from '../verify/cache.ts';
import { type Callouts, createCallouts } from '../verify/callout.ts';
import type { CalloutAnswer } from '../verify/callout-answer.ts';
import type { CalloutOptions, VerifyResult } from '../verify/verifier.ts';
import { createVerifier } from '../verify/verify.ts';
import type { VerifierParts } from '../verify/verifier-parts.ts';
import { environment } from './address-test.ts';
import { calloutExpiry } from './callout-expiry.ts';
import type { CommandLine } from './hints-command.ts';
import { loadOrComplain } from './load-or-complain.ts';
import type { Program } from './program.ts';
import { makeTransports } from './transports.ts';

/** Exim's limits. */
const limits = { timeoutMs: 30_000, connectTimeoutMs: 30_000, maxWaitMs: 120_000 };

/** Gives the exit code: 0 verified, 2 refused, 1 put off or not done. */
export async function testCallout(line: CommandLine, print: (line: string) => void): Promise<number> {
  const program = loadOrComplain(line.configFile, line.defines, (text) => console.error(text));
  if (program === undefined) return 1;
  const question = readQuestion(program, line);
  if (typeof question === 'string') {
    console.error(`mailchute callout test: ${question}`);
    return 1;
  }
  const { main, services, model } = program;
  const transports = makeTransports(
    model,
    { main, services },
    {
      newId: () => {
        throw new Error('a test delivers nothing');
      },
      returnSizeLimitBytes: 0,
      nowMs: Date.now,
      primaryHostname: main.primaryHostname,
      qualifyDomain: main.qualifyDomain,
      neverUsers: model.main.never_users ?? [],
      log: print,
    },
  );
  const callouts = createCallouts();
  const hints = line.options.has('--cache')
    ? openLmdbHints({ directory: path.join(main.spoolDirectory, 'hints') })
    : undefined;
  const parts: VerifierParts = {
    async route(address, mode, signal) {
      const routed = await route(
        address,
        environment(program, mode, formatAddress(question.options.sender)),
        signal,
      );
      const to = routed.kind === 'routed' ? `, transport ${routed.transport ?? '<none>'}` : '';
      if ('router' in routed && routed.router !== undefined) print(`router ${routed.router}${to}`);
      return routed;
    },
    transport: (name) => transports.get(name)?.transport,
    callouts: shown(callouts, print),
    async randomLocalPart() {
      const result = await expandText(model.main.callout_random_local_part, { main, services });
      const address = result.kind === 'ok' ? parseAddress(`${result.text}@x`) : undefined;
      return address === undefined || isSyntaxError(address) ? undefined : address.local;
    },
    ...(hints === undefined
      ? {}
      : { cache: createCalloutCache(hints, calloutExpiry(model.main), (text) => console.error(text)) }),
  };
  try {
    const { address, options } = question;
    const signal = new AbortController().signal;
    const result = await createVerifier(parts).verifyRecipient({ address, callout: options }, signal);
    return tell(address, result, print);
  } finally {
    await callouts.close();
    await Promise.all([...transports.values()].map((t) => t.transport.close()));
    await hints?.close();
    await program.closeLookups();
  }
}

function readQuestion(
  { main }: Program,
  { words: [text = ''], options }: CommandLine,
): { readonly address: Address; readonly options: CalloutOptions } | string {
  const address = parseAddress(text);
  if (isSyntaxError(address)) return `malformed address "${text}" (${address.text})`;
  const from = options.get('--from') ?? '';
  const sender: ReversePath | { readonly text: string } =
    from === '' || from === '<>' ? null : readSender(from, main);
  if (sender !== null && 'text' in sender) return sender.text;
  const size = options.get('--size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) return `--size: "${size}" is no number of octets`;
  return {
    address,
    options: {
      ...limits,
      deferOk: false,
      noCache: !options.has('--cache'),
      sender,
      ...(options.has('--random') ? { random: true } : {}),
      ...(options.has('--postmaster') ? { postmaster: { sender: null, full: false } } : {}),
      ...(size === undefined ? {} : { sizeOctets: Number(size) }),
    },
  };
}

function readSender(text: string, { qualifyDomain }: Program['main']): Address | { readonly text: string } {
  const address = parseAddress(text.includes('@') ? text : `${text}@${qualifyDomain}`);
  return isSyntaxError(address) ? { text: `--from: malformed address "${text}" (${address.text})` } : address;
}

/** Asks one host after the other, as the callouts themselves do, and tells what each said. */
function shown(callouts: Callouts, print: (line: string) => void): Callouts {
  return {
    ...callouts,
    async ask(question, signal) {
      const { target, address, sender, maxWaitMs } = question;
      const start = performance.now();
      let last: CalloutAnswer | undefined;
      for (const endpoint of target.endpoints) {
        const leftMs = maxWaitMs - (performance.now() - start);
        if (last !== undefined && leftMs <= 0) break;
        const began = performance.now();
        last = await callouts.ask(
          { ...question, target: { ...target, endpoints: [endpoint] }, maxWaitMs: leftMs },
          signal,
        );
        const ms = (performance.now() - began).toFixed(1);
        print(
          logText(
            `${target.protocol} ${endpointKey(endpoint)}, MAIL FROM:<${formatAddress(sender)}> RCPT TO:<${formatAddress(address)}>: ${answerText(last)} (${ms} ms)`,
          ),
        );
        if (last.kind !== 'unclear') return last;
      }
      return last ?? callouts.ask(question, signal);
    },
  };
}

function answerText(answer: CalloutAnswer): string {
  if (answer.kind === 'accepted') return replySummary(answer.reply);
  const said: Reply | undefined = answer.reply;
  const what =
    said === undefined ? faultText('fault' in answer ? answer.fault : undefined) : replySummary(said);
  return `${what} after ${answer.after}`;
}

function faultText(fault: DialogueFault | undefined): string {
  if (fault === undefined) return 'no answer';
  return 'text' in fault ? fault.text : fault.kind;
}

function tell(address: Address, result: VerifyResult, print: (line: string) => void): number {
  const who = formatAddress(address);
  if (result.kind === 'ok') {
    const how = result.random === true ? ', as any local part there' : '';
    print(
      logText(
        `${who} verified (${result.via === 'cache' ? 'known from an earlier callout' : `by ${result.via}`})${how}`,
      ),
    );
    return 0;
  }
  print(logText(`${who} ${result.kind === 'fail' ? 'refused' : 'put off'}: ${result.logReason}`));
  print('a client would hear:');
  for (const line of formatReply(result.reply).trimEnd().split('\r\n')) print(`  ${logText(line)}`);
  return result.kind === 'fail' ? 2 : 1;
}
