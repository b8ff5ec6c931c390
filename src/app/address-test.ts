/** `-bt`, `-bv` and `-bvs`: what routers make of addresses, in Exim's form (Exim manual, "The Exim command line"). */
import { createInterface } from 'node:readline/promises';
import type { EximArguments } from '../cli/exim-arguments.ts';
import { type Address, formatAddress } from '../mail/address.ts';
import type { RouteHost } from '../mail/route-host.ts';
import { extractParts } from '../mail/extract-address.ts';
import type { RouteEnvironment, RouteMode } from '../router/environment.ts';
import { type Leaf, route, routeAll } from '../router/route.ts';
import { withTestedAclCalls } from './acl-test-calls.ts';
import { chooseConfigFile } from './config-file.ts';
import { loadOrComplain } from './load-or-complain.ts';
import { commandSender, noMessage } from './no-message.ts';
import type { Program } from './program.ts';
import { childRewriter } from './edge/rewriting.ts';
import { makeRouters } from './routers.ts';

type Print = (line: string) => void;

/** How bad it is, as the exit code says: 2 for a failure, 1 where only something was put off. */
type Badness = 0 | 1 | 2;

/** Without addresses on the command line they are read one a line. Gives the exit code. */
export async function testAddresses(
  a: EximArguments,
  mode: RouteMode & EximArguments['mode'],
  input: NodeJS.ReadableStream,
  print: Print,
): Promise<number> {
  const program = loadOrComplain(chooseConfigFile(a.configFile), a.defines, (line) => console.error(line));
  if (program === undefined) return 1;
  const seen = new Set<string>();
  let worst: Badness = 0;
  const test = async (text: string): Promise<void> => {
    const bad = await testAddress(program, environment(program, mode, a.sender), text, seen, print);
    worst = Math.max(worst, bad) as Badness;
  };
  try {
    for (const text of a.words) await test(text);
    if (a.words.length === 0)
      for await (const line of createInterface({ input })) if (line.trim() !== '') await test(line.trim());
  } finally {
    await program.closeLookups();
  }
  return worst;
}

/** What routes an address from the command line. */
export function environment(program: Program, mode: RouteMode, sender: string | undefined): RouteEnvironment {
  const { model, main } = program;
  const log = (titles: string, line: string): void => console.error(`LOG: ${titles}\n  ${line}`);
  const from = mode === 'verify-sender' ? null : commandSender(sender, main.qualifyDomain);
  const services = withTestedAclCalls(program, log);
  const rewriteChild = childRewriter(program.rewriteRules, (text) => log('MAIN', text));
  const local = new Map(model.transports.map((t) => [t.name, { local: t.driver !== 'smtp' }]));
  return {
    routers: makeRouters(model, { main, services }),
    main,
    services,
    mode,
    ...(rewriteChild === undefined ? {} : { rewriteChild }),
    sender: from,
    message: noMessage(from),
    transport: (name) => local.get(name),
    note: (text) => log('MAIN', text),
    problem: (text) => log('MAIN PANIC', text),
  };
}

async function testAddress(
  program: Program,
  env: RouteEnvironment,
  text: string,
  seen: Set<string>,
  print: Print,
): Promise<Badness> {
  const found = extractParts(text);
  if (!('local' in found)) {
    print(`syntax error: ${'error' in found ? found.error : 'empty address'}`);
    return 2;
  }
  const { qualifyRecipient, qualifyDomain } = program.main;
  const domain = env.mode === 'verify-sender' ? qualifyDomain : qualifyRecipient;
  const address = { local: found.local, domain: found.domain === '' ? domain : found.domain } as Address;
  const signal = new AbortController().signal;
  if (env.mode !== 'address-test') return verify(address, env, signal, print);
  const leaves = await routeAll(address, env, signal, { width: 1, duplicates: true });
  return show(leaves, seen, print);
}

async function verify(
  address: Address,
  env: RouteEnvironment,
  signal: AbortSignal,
  print: Print,
): Promise<Badness> {
  const text = formatAddress(address);
  const routed = await route(address, env, signal);
  switch (routed.kind) {
    case 'fail':
      print(`${text} failed to verify: ${routed.reason.text}`);
      return 2;
    case 'defer':
      print(`${text} cannot be resolved at this time: ${routed.reason.text}`);
      return 1;
    case 'routed':
    case 'discard':
    case 'redirected':
      print(`${text} verified`);
      return 0;
  }
}

/** What goes nowhere first, then local deliveries and remote ones, the last that was found first: Exim's order. */
function show(leaves: readonly Leaf[], seen: Set<string>, print: Print): Badness {
  let worst: Badness = 0;
  const accepted: Leaf[] = [];
  for (const leaf of leaves) {
    const { routed, direct } = leaf;
    const name = formatAddress(leaf.address);
    if (direct !== undefined) {
      const forbidden =
        routed.kind === 'defer' && /^delivery to (?:file|pipe) forbidden$/.test(routed.reason.text);
      print(`${name} -> ${direct.text}${forbidden ? ' *** forbidden ***' : ''}`);
      if (forbidden) continue;
      if (routed.kind === 'defer') {
        print('*** Error in setting up pipe, file, or autoreply:');
        print(routed.reason.text);
      } else print(`  transport = ${routed.kind === 'routed' ? routed.transport : '**bypassed**'}`);
      continue;
    }
    switch (routed.kind) {
      case 'fail':
        print(`${name} is undeliverable: ${routed.reason.text}`);
        showAncestors(leaf, print);
        worst = 2;
        break;
      case 'defer':
        print(`${name} cannot be resolved at this time: ${routed.reason.text}`);
        showAncestors(leaf, print);
        if (worst === 0) worst = 1;
        break;
      case 'discard':
        print(`mail to ${name} is discarded`);
        break;
      case 'routed':
        accepted.push(leaf);
    }
  }
  const isLocal = ({ routed }: Leaf): boolean => routed.kind === 'routed' && routed.local;
  const inOrder = [
    ...accepted.filter(isLocal).toReversed(),
    ...accepted.filter((l) => !isLocal(l)).toReversed(),
  ];
  for (const leaf of inOrder) showAccepted(leaf, seen, print);
  return worst;
}

function showAncestors(leaf: Leaf, print: Print): void {
  for (const ancestor of leaf.ancestors) print(`    <-- ${formatAddress(ancestor)}`);
}

function showAccepted(leaf: Leaf, seen: Set<string>, print: Print): void {
  const { routed } = leaf;
  if (routed.kind !== 'routed') return;
  // An address from the command line is never called a duplicate, and one of two copies (`unseen`) only of its like.
  const copy = leaf.key.endsWith(`/${routed.router}`);
  const key = copy ? `${leaf.key} ${leaf.ancestors.length > 1}` : formatAddress(leaf.address);
  const duplicate =
    leaf.ancestors.length > 0 && seen.has(key) ? '   [duplicate, would not be delivered]' : '';
  if (leaf.ancestors.length > 0) seen.add(key);
  print(`${formatAddress(leaf.address)}${duplicate}`);
  showAncestors(leaf, print);
  print(`  router = ${routed.router}, transport = ${routed.transport ?? '<none>'}`);
  showHosts(routed.hosts, routed.local, print);
}

function showHosts(hosts: readonly RouteHost[], local: boolean, print: Print): void {
  const widest = Math.max(0, ...hosts.map((h) => h.name.length));
  const widestAddress = Math.max(0, ...hosts.map((h) => (h.address ?? (local ? '' : 'unknown')).length));
  for (const { name, address, mx, port } of hosts) {
    const shown = local && address === undefined ? ''.padEnd(widestAddress + 2) : `[${address ?? 'unknown'}]`;
    const preference = mx === undefined ? '' : ` MX=${mx}`;
    const at = port === undefined ? '' : ` port=${port}`;
    print(`  host ${name.padEnd(widest)} ${shown.padEnd(widestAddress + 2)}${preference}${at}`);
  }
}
