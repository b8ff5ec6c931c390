// What the comparisons share: folders, the load program, rounds and how they are printed.
import { chmodSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runToEnd, temporaryFolder } from '../../test/support/process.ts';
import type { CpuGroup } from './cpu-group.ts';
import { canMakeFileSystem, makeFileSystem } from './file-system.ts';
import { median, round } from './statistics.ts';

export interface BenchOptions {
  readonly rounds: number;
  /** Messages of ours in a round of the relay, and of the peer. */
  readonly messages: number;
  readonly peerMessages: number;
  /** Deliveries of ours in a round of the store; the peer gets a third. */
  readonly storeMessages: number;
  /** Questions of ours in a round of the verification; the peer gets a quarter. */
  readonly questions: number;
  /** Sessions held open to see what they take of memory. */
  readonly idle: number;
  /** Octets of a message. */
  readonly size: number;
  readonly sessions: number;
  /** Messages or deliveries of ours before anything counts: until then Node compiles on the side. */
  readonly warmUp: number;
  /** Of the store and of Dovecot; 0: for each as many as serve it best. */
  readonly storeSessions: number;
}

/** One line of the report: what `--only` chooses it by, and what it does. */
export interface Comparison {
  readonly name: string;
  run(o: BenchOptions): Promise<void>;
}

const folders: { remove(): void }[] = [];

/** A folder on a file system of its own where one can be made, which the peers, under their own users, may enter. */
export function benchFolder(): string {
  const folder = temporaryFolder('bench');
  chmodSync(folder.path, 0o755);
  if (!canMakeFileSystem()) {
    folders.push(folder);
    return folder.path;
  }
  const disk = makeFileSystem(folder.path, diskMebibytes);
  folders.push({
    remove() {
      disk.unmount();
      folder.remove();
    },
  });
  return disk.path;
}

const diskMebibytes = 2048;

export function removeFolders(): void {
  for (const folder of folders.splice(0)) folder.remove();
}

/** What the rounds of one side came to. */
export interface Figures {
  readonly perSecond: number[];
  /** Of the program under test with its children, milliseconds for each thing done. */
  readonly cpuMs: number[];
  /** Milliseconds; empty where nothing is waited for. */
  readonly waitP50: number[];
  readonly waitP99: number[];
  /** Cores that something else used meanwhile. */
  readonly foreign: number[];
  memoryMiB: number;
}

export function figures(): Figures {
  return { perSecond: [], cpuMs: [], waitP50: [], waitP99: [], foreign: [], memoryMiB: 0 };
}

/** Seconds of CPU that all processes of the machine have used (proc(5), stat). */
function machineSeconds(): number {
  const [, ...ticks] = (readFileSync('/proc/stat', 'latin1').split('\n')[0] ?? '').split(/\s+/).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
  return (user + nice + system + irq + softirq + steal) / 100;
}

/** Begins a round: gives what ends it, with the seconds of CPU that belong to the run besides the groups'. */
export function roundOf(groups: readonly CpuGroup[]): (ownSeconds: number) => {
  readonly cpuSeconds: readonly number[];
  readonly foreignCores: number;
} {
  const began = performance.now();
  const machine = machineSeconds();
  const before = groups.map((g) => g.cpuSeconds());
  const own = process.cpuUsage();
  return (ownSeconds) => {
    const cpuSeconds = groups.map((g, i) => g.cpuSeconds() - (before[i] ?? 0));
    const mine = process.cpuUsage(own);
    const used = cpuSeconds.reduce((a, b) => a + b, ownSeconds + (mine.user + mine.system) / 1e6);
    const seconds = (performance.now() - began) / 1000;
    return { cpuSeconds, foreignCores: Math.max(0, (machineSeconds() - machine - used) / seconds) };
  };
}

/** The line of JSON that a bench program prints; rejects with its output where it fails. */
export async function runProgram<T>(
  file: string,
  words: Readonly<Record<string, string | number | true>>,
): Promise<T> {
  const list = Object.entries(words).flatMap(([k, v]) => (v === true ? [`--${k}`] : [`--${k}`, String(v)]));
  const run = await runToEnd(process.execPath, [path.join(import.meta.dirname, '..', file), ...list], {
    timeoutMs: 300_000,
  });
  return jsonLine(run.output, run.code === 0) as T;
}

export function jsonLine(output: string, good = true): unknown {
  const line = output.split('\n').find((l) => l.startsWith('{'));
  if (!good || line === undefined) throw new Error(`a bench program failed: ${output}`);
  return JSON.parse(line);
}

/** What `load.ts` prints. */
export interface LoadReport {
  readonly messages: number;
  readonly accepted: number;
  readonly messagesPerSecond: number;
  readonly recipientsPerSecond: number;
  readonly clientCpuSeconds: number;
  readonly beganAtMs: number;
  readonly endOfDataMs: { readonly p50: number; readonly p99: number };
  readonly faults: Readonly<Record<string, number>>;
}

/** What `sink.ts` prints. */
export interface SinkReport {
  readonly recipients: number;
  readonly lastAtMs: number;
  readonly cpuSeconds: number;
}

/** Adds what one round of load came to. @param perSecond of what the side is measured by; CPU for each of `count` */
export function addRound(
  into: Figures,
  { p50, p99 }: LoadReport['endOfDataMs'],
  group: CpuGroup,
  round: {
    readonly perSecond: number;
    readonly count: number;
    readonly cpuSeconds: readonly number[];
    readonly foreignCores: number;
  },
): void {
  into.perSecond.push(round.perSecond);
  into.cpuMs.push(((round.cpuSeconds[0] ?? 0) / round.count) * 1000);
  into.waitP50.push(p50);
  into.waitP99.push(p99);
  into.foreign.push(round.foreignCores);
  into.memoryMiB = Math.max(into.memoryMiB, group.memoryMiB());
}

function column(values: readonly number[], digits: number, width: number): string {
  return round(median(values), digits).toString().padStart(width);
}

/** Medians with the rates of the slowest and the fastest round, then the ratio of ours to the other. */
export function printFigures(
  title: string,
  ours: readonly [name: string, Figures],
  other: readonly [name: string, Figures],
  wait: string,
): void {
  console.log(`${title}   (load average ${round(os.loadavg()[0] ?? 0, 1)})`);
  for (const [name, f] of [ours, other]) {
    const range = `${round(Math.min(...f.perSecond), 0)} to ${round(Math.max(...f.perSecond), 0)}`;
    console.log(
      `  ${name.padEnd(10)}${column(f.perSecond, 0, 7)}/s (${range})  ${column(f.cpuMs, 3, 7)} ms CPU each   ` +
        `${wait} p50 ${column(f.waitP50, 1, 5)} p99 ${column(f.waitP99, 1, 5)} ms   ` +
        `memory ${round(f.memoryMiB, 0)} MiB   others used ${column(f.foreign, 1, 0)} cores`,
    );
  }
  const [, a] = ours;
  const [, b] = other;
  console.log(
    `  ratio     ${round(median(a.perSecond) / median(b.perSecond), 1)} times the rate, ${round(median(b.cpuMs) / median(a.cpuMs), 1)} times less CPU\n`,
  );
}
