/** The body of a message in the spool, as expansions see it at delivery. */
import { createBodyMeter } from '../mail/body-meter.ts';
import type { Awaitable, BodyFacts } from '../expand/scope.ts';
import type { Claim } from '../spool/spool.ts';

/**
 * Reads the content when it is first asked for, and once; at once where it is in memory. Rejects with MailError('IO')
 * where it cannot be read.
 *
 * @param visibleOctets `message_body_visible`
 */
export function spooledBody(
  { content, entry }: Claim,
  visibleOctets: number,
  signal: AbortSignal,
): () => Awaitable<BodyFacts> {
  const measure = (): Awaitable<BodyFacts> => {
    const meter = createBodyMeter(visibleOctets, () => entry.headerSize);
    // The blank line does not count once the message is in the spool.
    const facts = (): BodyFacts => ({ ...meter.facts(), blankLine: false });
    const { bytes } = content;
    if (bytes !== undefined) {
      meter.take(bytes);
      return facts();
    }
    return (async () => {
      for await (const chunk of content.open(signal)) meter.take(chunk);
      return facts();
    })();
  };
  let known: { readonly facts: Awaitable<BodyFacts> } | undefined;
  return () => (known ??= { facts: measure() }).facts;
}
