/** Places that gave callouts no session are left alone for a while. */
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import type { CalloutTarget } from '../transport/transport.ts';
import type { CalloutAnswer } from './callout-answer.ts';

export interface RestLimits {
  /**
   * An endpoint with which no session could be had is not tried again for so long, milliseconds; for twice as long with each
   * further failure, up to `longestRestMs`. Questions for it are unclear at once meanwhile.
   */
  readonly firstRestMs: number;
  readonly longestRestMs: number;
}

/** An endpoint that gave no session. */
interface Rest {
  readonly failures: number;
  readonly untilMs: number;
  readonly answer: CalloutAnswer;
}

/** Where questions of one kind go. */
export interface CalloutPlace {
  readonly key: string;
  readonly endpoint: Endpoint;
}

export function placeOf({ protocol, helo }: CalloutTarget, endpoint: Endpoint): CalloutPlace {
  return { key: `${protocol} ${endpointKey(endpoint)} ${helo}`, endpoint };
}

export interface Rests {
  /** No place is known to be down. */
  none(): boolean;
  /** What is told of a place while it rests; undefined where it does not. */
  answerOf(key: string): CalloutAnswer | undefined;
  gaveNoSession(place: CalloutPlace, answer: CalloutAnswer): void;
  answered(place: CalloutPlace): void;
}

/** Endpoints that are remembered to be down. */
const maxResting = 1000;

/** @param note told once when a place is given a rest, and once when it answers again */
export function createRests(limits: RestLimits, note: (text: string) => void): Rests {
  /** By the key of their place. */
  const resting = new Map<string, Rest>();

  function gaveNoSession({ key, endpoint }: CalloutPlace, answer: CalloutAnswer): void {
    const failures = (resting.get(key)?.failures ?? 0) + 1;
    const restMs = Math.min(limits.longestRestMs, limits.firstRestMs * 2 ** Math.min(failures - 1, 20));
    if (failures === 1)
      note(`callout: ${endpointKey(endpoint)} gives no session; it is asked again in ${restMs} ms`);
    if (resting.size >= maxResting) resting.clear();
    resting.set(key, { failures, untilMs: performance.now() + restMs, answer });
  }

  function answered({ key, endpoint }: CalloutPlace): void {
    if (resting.delete(key)) note(`callout: ${endpointKey(endpoint)} answers again`);
  }

  return {
    none: () => resting.size === 0,
    answerOf(key) {
      const rest = resting.get(key);
      return rest !== undefined && performance.now() < rest.untilMs ? rest.answer : undefined;
    },
    gaveNoSession,
    answered,
  };
}
