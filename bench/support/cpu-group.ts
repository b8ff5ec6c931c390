// CPU time and memory of a peer with all the processes it ever forks, by a control group of its own (cpuacct, or the
// unified hierarchy). Where neither can be made, by summing /proc over the process tree, which misses processes that
// have left it, as Exim's deliveries do: the report then says so.
import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';

export interface CpuGroup {
  /** True where a control group counts. */
  readonly exact: boolean;
  /** Seconds of CPU since the group was made. */
  cpuSeconds(): number;
  /** Proportional set size of the living processes, MiB. */
  memoryMiB(): number;
  close(): void;
}

const ticksPerSecond = 100;

function children(): Map<number, number[]> {
  const map = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    map.set(parent, [...(map.get(parent) ?? []), Number(name)]);
  }
  return map;
}

function tree(root: number): number[] {
  const map = children();
  const all: number[] = [];
  const walk = (pid: number): void => {
    all.push(pid);
    for (const child of map.get(pid) ?? []) walk(child);
  };
  walk(root);
  return all;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function pss(pids: readonly number[]): number {
  return (
    pids.reduce(
      (sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0),
      0,
    ) / 1024
  );
}

/** Puts the process tree of `root` into a group; what it forks later belongs to the group too. */
export function cpuGroup(name: string, root: number): CpuGroup {
  const v1 = '/sys/fs/cgroup/cpuacct';
  const base = existsSync(v1) ? v1 : '/sys/fs/cgroup';
  const folder = path.join(base, `mailchute-bench-${process.pid}-${name}`);
  try {
    mkdirSync(folder);
    for (const pid of tree(root)) appendFileSync(path.join(folder, 'cgroup.procs'), `${pid}\n`);
    const begin = usage(folder);
    return {
      exact: true,
      cpuSeconds: () => usage(folder) - begin,
      memoryMiB: () => pss(read(path.join(folder, 'cgroup.procs')).split('\n').filter(Boolean).map(Number)),
      close: () => {
        try {
          rmdirSync(folder);
        } catch {
          // a process is still ending: the empty group that stays behind is harmless
        }
      },
    };
  } catch {
    const begin = treeSeconds(root);
    return {
      exact: false,
      cpuSeconds: () => treeSeconds(root) - begin,
      memoryMiB: () => pss(tree(root)),
      close: () => undefined,
    };
  }
}

function usage(folder: string): number {
  const v1 = read(path.join(folder, 'cpuacct.usage'));
  if (v1 !== '') return Number(v1) / 1e9;
  return Number(/^usage_usec (\d+)/m.exec(read(path.join(folder, 'cpu.stat')))?.[1] ?? 0) / 1e6;
}

/** User and system time of the tree, with that of children already waited for. */
function treeSeconds(root: number): number {
  return tree(root).reduce((sum, pid) => {
    const stat = read(`/proc/${pid}/stat`);
    const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + [11, 12, 13, 14].reduce((s, i) => s + Number(field[i] ?? 0), 0) / ticksPerSecond;
  }, 0);
}
