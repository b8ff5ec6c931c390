import type { SpoolDatabases } from './environment.ts';
import { isGone, type ProcessIdentity } from './process-identity.ts';

/**
 * Who may hold leases: one number for each time a spool is opened, never given twice (a counter in `meta`), with the
 * process behind it. An owner without a row has closed the spool.
 */
export interface Owners {
  /** This opening of the spool. */
  readonly self: number;
  /** True when what the owner holds is void: its process is gone, or it closed the spool. */
  isVoid(owner: number): boolean;
  /** Forgets an owner; inside a write transaction. */
  remove(owner: number): void;
  /** The void owners that still have a row. */
  voidOwners(): number[];
}

/** Registers this process; durable when it returns. */
export function registerOwner(databases: SpoolDatabases, identity: ProcessIdentity): Owners {
  const self = databases.root.transactionSync(() => {
    const last = databases.meta.getBinary('owners');
    const number = (last?.length === 4 ? last.readUInt32LE(0) : 0) + 1;
    const count = Buffer.alloc(4);
    count.writeUInt32LE(number);
    databases.meta.putSync('owners', count);
    databases.owner.putSync(rowKey(number), Buffer.from(JSON.stringify(identity), 'utf8'));
    return number;
  });
  // Rows never change, so each is parsed once; it is bounded by the number of processes alive at one time.
  const known = new Map<number, ProcessIdentity>();

  const identityOf = (owner: number): ProcessIdentity | undefined => {
    const row = databases.owner.getBinary(rowKey(owner));
    if (row === undefined) {
      known.delete(owner);
      return undefined;
    }
    const seen = known.get(owner) ?? parseIdentity(row);
    if (seen !== undefined) known.set(owner, seen);
    return seen;
  };

  const isVoid = (owner: number): boolean => {
    if (owner === self) return false;
    const other = identityOf(owner);
    return other === undefined || isGone(other, identity);
  };

  return {
    self,
    isVoid,
    remove: (owner) => {
      known.delete(owner);
      databases.owner.removeSync(rowKey(owner));
    },
    voidOwners: () => [...databases.owner.getKeys()].map(Number).filter(isVoid),
  };
}

function rowKey(owner: number): string {
  return String(owner);
}

function parseIdentity(row: Buffer): ProcessIdentity | undefined {
  try {
    const value: Partial<ProcessIdentity> = JSON.parse(row.toString('utf8'));
    const { pid, startTicks, bootId, pidNamespace } = value;
    if (pid === undefined || startTicks === undefined || bootId === undefined || pidNamespace === undefined)
      return undefined;
    return { pid, startTicks, bootId, pidNamespace };
  } catch {
    return undefined;
  }
}
