/** Which messages may be on their way to their servers before their end has come. */
import type { ConfigModel } from '../../config/model.ts';

export interface Streaming {
  /** None where it is undefined; else those without a longer line, its end not counted. */
  readonly maxLineOctets: number | undefined;
}

/**
 * What routers and transports decide by must be known at the beginning: not the size of the message, where any of them looks
 * at it; and a transport with `message_linelength_limit` must never have begun what it would refuse.
 */
export function streaming({ routers, transports, lists }: ConfigModel): Streaming {
  const named = Object.values(lists).flatMap((kind) => [...kind.values()]);
  const looked = JSON.stringify([routers, transports, named].flat());
  if (looked.includes('message_size')) return { maxLineOctets: undefined };
  const limits = transports.flatMap((t) =>
    t.driver === 'smtp' && t.options.message_linelength_limit > 0 ? [t.options.message_linelength_limit] : [],
  );
  return { maxLineOctets: Math.min(...limits) };
}
