/** Servers of which one answers: asked in order, beginning with the one that answered last. */
import type { DirectoryAnswer } from '../directory.ts';

type Unavailable = Extract<DirectoryAnswer, { kind: 'unavailable' }>;

/** What one server says. */
export type Turn<A> =
  | { readonly kind: 'answer'; readonly answer: A }
  /** The server processed the question and refused it: another one would do the same. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** `broken`: the connection ended under the question; it may have been an old one, so the same server is asked again. */
  | { readonly kind: 'next'; readonly reason: string; readonly broken?: boolean };

export interface ServerLimits {
  /** For a whole question, connecting included; each server gets its share. */
  readonly timeoutMs: number;
  /** Connections to one server. */
  readonly maxConnections: number;
}

const maxAttempts = 2;
/** Questions under way; more are unavailable at once. */
const maxWaiting = 1000;

/** @param ask puts the question to one server; never rejects */
export function askInTurn<Q, A>(
  servers: readonly string[],
  timeoutMs: number,
  ask: (server: string, question: Q, shareMs: number) => Promise<Turn<A>>,
): (question: Q) => Promise<A | Unavailable> {
  let preferred = 0;
  let waiting = 0;
  const inTurn = async (question: Q): Promise<A | Unavailable> => {
    const first = preferred;
    let reason = 'no server is configured';
    for (let i = 0; i < servers.length; i++) {
      const at = (first + i) % servers.length;
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const turn = await ask(servers[at] ?? '', question, timeoutMs / servers.length);
        if (turn.kind === 'answer') {
          preferred = at;
          return turn.answer;
        }
        ({ reason } = turn);
        if (turn.kind === 'refused') return { kind: 'unavailable', reason };
        if (turn.broken !== true) break;
      }
    }
    return { kind: 'unavailable', reason };
  };
  return async (question) => {
    if (waiting >= maxWaiting)
      return { kind: 'unavailable', reason: `${maxWaiting} questions wait for the servers already` };
    waiting++;
    try {
      return await inTurn(question);
    } finally {
      waiting--;
    }
  };
}
