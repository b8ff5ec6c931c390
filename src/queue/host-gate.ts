/**
 * Exim's retry database for hosts: a host that is down is asked by one delivery when its time has come, and the rest
 * wait for what that one finds (Exim manual, "Retry configuration").
 */
import type { Hints } from '../hints/hints.ts';
import type { RouteHost } from '../mail/route-host.ts';
import { afterFailure, type RetryRecord, type ScheduleOptions } from '../retry/schedule.ts';
import type { RetryRule } from '../retry/rules.ts';

/** What the hints keep for one host. */
export interface HostRecord extends RetryRecord {
  /** The last cutoff of the rule that was used; 0 where there was none. */
  readonly lastCutoffMs: number;
  /** The last error, for people. */
  readonly text: string;
}

/** Some of the hosts may be tried. `probe`: one of them was down, and this delivery finds out; end it always, and as often as you like. */
export interface GateOpen {
  readonly kind: 'open';
  readonly hosts: readonly RouteHost[];
  readonly probe?: { end(): void };
}

export type Gate =
  | GateOpen
  /** Another delivery is finding out; wait for it and ask again. */
  | { readonly kind: 'probing'; readonly done: Promise<void> }
  /** No host's time has come. `expired`: they have all failed beyond their last cutoff. */
  | {
      readonly kind: 'closed';
      readonly untilMs: number;
      readonly expired: boolean;
      readonly lastCutoffMs: number;
    };

export interface HostGate {
  /**
   * May a delivery by this transport to these hosts begin? With `force` the times do not count, and with `untriedSinceMs`
   * they do not for hosts that were given up and not tried since then.
   */
  ask(
    transport: string,
    hosts: readonly RouteHost[],
    nowMs: number,
    force: boolean,
    untriedSinceMs?: number,
  ): Gate;
  succeeded(transport: string, hosts: readonly RouteHost[], nowMs: number): void;
  /** Records a failure of every one of these hosts; gives the time of the next attempt and whether all have expired. */
  failed(failure: HostFailure): { readonly nextTryAtMs: number; readonly expired: boolean };
}

export interface HostFailure {
  readonly transport: string;
  /** Those that were tried. */
  readonly hosts: readonly RouteHost[];
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly text: string;
  /** The rule for a host, by its name. */
  readonly rule: (host: RouteHost | undefined) => RetryRule | undefined;
}

/**
 * @param schedule without `receivedAtMs`: the failure is the host's
 * @param byName of which transports all addresses of a host are one (`retry_include_ip_address` false)
 */
export function createHostGate(
  hints: Hints,
  schedule: ScheduleOptions,
  problem: (text: string) => void,
  byName: (transport: string) => boolean = () => false,
): HostGate {
  /** What was written and may not be visible in the hints yet; undefined for a deletion. */
  const recent = new Map<string, HostRecord | undefined>();
  const probes = new Map<string, Promise<void>>();
  /** Hosts of which nothing was known, and until when that is believed: what another process finds out is seen so much later. */
  const unknown = new Map<string, number>();

  const read = (key: string, nowMs: number): HostRecord | undefined => {
    if (recent.size > 0 && recent.has(key)) return recent.get(key);
    if (nowMs < (unknown.get(key) ?? 0)) return undefined;
    const record = hints.get('retry', key, nowMs);
    if (record === undefined) {
      if (unknown.size >= maxUnknown) unknown.clear();
      unknown.set(key, nowMs + unknownMs);
    }
    if (record === undefined || !isHostRecord(record)) return undefined;
    return nowMs - record.lastTryAtMs > schedule.dataExpireMs ? undefined : record;
  };

  const write = (key: string, record: HostRecord | undefined): void => {
    recent.set(key, record);
    unknown.delete(key);
    const stored =
      record === undefined
        ? hints.delete('retry', key)
        : hints.put('retry', key, record, record.lastTryAtMs + schedule.dataExpireMs);
    stored
      .catch((failure: unknown) => problem(`retry hint of ${key} not stored: ${String(failure)}`))
      .finally(() => {
        if (recent.get(key) === record) recent.delete(key);
      });
  };

  return {
    ask(transport, hosts, nowMs, force, untriedSinceMs) {
      const places = placesOf(hosts);
      let due: (RouteHost | undefined)[] | undefined;
      let probeKey: string | undefined;
      let untilMs = Number.POSITIVE_INFINITY;
      let expired = true;
      let lastCutoffMs = 0;
      for (const [i, host] of places.entries()) {
        const key = hostKey(transport, host, byName(transport));
        const record = read(key, nowMs);
        const waited = untriedSinceMs !== undefined && record?.expired === true;
        const again = waited && record.lastTryAtMs < untriedSinceMs;
        if (record === undefined || force || again || record.nextTryAtMs <= nowMs) {
          due?.push(host);
          if (record !== undefined) probeKey ??= key;
          continue;
        }
        due ??= places.slice(0, i);
        untilMs = Math.min(untilMs, record.nextTryAtMs);
        expired &&= record.expired;
        lastCutoffMs = Math.max(lastCutoffMs, record.lastCutoffMs);
      }
      if (due?.length === 0) return { kind: 'closed', untilMs, expired, lastCutoffMs };
      const open = due === undefined ? hosts : due.flatMap((h) => (h === undefined ? [] : [h]));
      if (probeKey === undefined) return { kind: 'open', hosts: open };
      const key = probeKey;
      const underWay = probes.get(key);
      if (underWay !== undefined) return { kind: 'probing', done: underWay };
      let end = (): void => {};
      const done = new Promise<void>((resolve) => {
        end = () => {
          // Again: it may be another's by now.
          if (probes.get(key) === done) probes.delete(key);
          resolve();
        };
      });
      probes.set(key, done);
      return { kind: 'open', hosts: open, probe: { end } };
    },

    succeeded(transport, hosts, nowMs) {
      for (const host of placesOf(hosts)) {
        const key = hostKey(transport, host, byName(transport));
        if (read(key, nowMs) !== undefined) write(key, undefined);
      }
    },

    failed({ transport, hosts, startedAtMs, nowMs, text, rule }) {
      let nextTryAtMs = Number.POSITIVE_INFINITY;
      let expired = true;
      for (const host of placesOf(hosts)) {
        const key = hostKey(transport, host, byName(transport));
        const previous = read(key, nowMs);
        let record = previous;
        // Several deliveries may have found the host down together: that is one failure, not many.
        if (previous === undefined || previous.lastTryAtMs < startedAtMs) {
          const found = rule(host);
          record = {
            ...afterFailure(found, previous, nowMs, schedule),
            lastCutoffMs: found?.algorithms.at(-1)?.cutoffMs ?? 0,
            text,
          };
          write(key, record);
        }
        if (record === undefined) continue;
        nextTryAtMs = Math.min(nextTryAtMs, record.nextTryAtMs);
        expired &&= record.expired;
      }
      return { nextTryAtMs, expired };
    },
  };
}

const maxUnknown = 1000;
const unknownMs = 1000;

/** A transport that knows its own destination counts as one place without a host. */
function placesOf(hosts: readonly RouteHost[]): readonly (RouteHost | undefined)[] {
  return hosts.length === 0 || hosts[0]?.address === undefined ? [undefined] : hosts;
}

function hostKey(transport: string, host: RouteHost | undefined, byName: boolean): string {
  if (host === undefined) return `T:${transport}`;
  const address = byName ? '' : (host.address ?? '');
  return `T:${transport}:${host.name}:${address}:${host.port ?? ''}`;
}

export function isHostRecord(value: unknown): value is HostRecord {
  if (typeof value !== 'object' || value === null) return false;
  const numbers: readonly string[] = ['firstFailedAtMs', 'lastTryAtMs', 'nextTryAtMs', 'lastCutoffMs'];
  const fields: Readonly<Record<string, unknown>> = { ...value };
  return numbers.every((n) => typeof fields[n] === 'number') && typeof fields['expired'] === 'boolean';
}
