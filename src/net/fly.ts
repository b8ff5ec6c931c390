import { MailError } from '../mail/mail-error.ts';
import type { ClientConnection, Exchange, ExchangeResult } from './client-connection.ts';

/**
 * Runs a dialogue (a generator of flights, `protocol/flight.ts`) over a connection to its end. Where the replies of a
 * flight are there already nothing is awaited. Rejects with MailError ABORTED when the signal fires; the connection is
 * closed then.
 */
export async function fly<X extends Exchange, T>(
  connection: ClientConnection,
  dialogue: Generator<X, T, ExchangeResult>,
  signal?: AbortSignal,
): Promise<T> {
  const result = await flyOn(connection, dialogue, signal);
  if (connection.fault?.kind === 'aborted') throw new MailError('ABORTED', 'aborted');
  return result;
}

/** The same for a dialogue that makes something of the replies that came before an abort: fault `aborted`. Never rejects. */
export async function flyOn<X extends Exchange, T>(
  connection: ClientConnection,
  dialogue: Generator<X, T, ExchangeResult>,
  signal?: AbortSignal,
): Promise<T> {
  const release = signal === undefined ? undefined : connection.abortWith(signal);
  try {
    let step = dialogue.next();
    while (step.done !== true) {
      const result = connection.exchange(step.value);
      step = dialogue.next(result instanceof Promise ? await result : result);
    }
    return step.value;
  } finally {
    release?.();
  }
}
