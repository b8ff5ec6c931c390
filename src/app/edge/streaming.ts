/** Which messages may be on their way to their servers before their end has come. */
import type { ConfigModel } from '../../config/model.ts';

/**
 * Most messages that are so at a time: each has a connection to a server for as long as its sender takes, and slow senders
 * must not have all of a transport's (16).
 */
const maxStreams = 8;

export interface Streaming {
  /** Of {@link maxStreams} those that are left. */
  free: number;
  /** None where it is undefined; else those without a longer line, its end not counted. */
  readonly maxLineOctets: number | undefined;
}

/**
 * What routers and transports decide by must be known at the beginning: not the size of the message, where any of them looks
 * at it; and a transport with `message_linelength_limit` must never have begun what it would refuse.
 */
export function streaming({ routers, transports, lists }: ConfigModel): Streaming {
  const named = Object.values(lists).map((kind) => Array.from(kind.values()));
  const looked = JSON.stringify([routers, transports, named]);
  if (looked.includes('message_size')) return { free: 0, maxLineOctets: undefined };
  const limits = transports.flatMap((t) =>
    t.driver === 'smtp' && t.options.message_linelength_limit > 0 ? [t.options.message_linelength_limit] : [],
  );
  return { free: maxStreams, maxLineOctets: Math.min(...limits) };
}
