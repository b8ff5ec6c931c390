declare const brand: unique symbol;

/** A queue id in Exim's form, `1u2WxY-000aBc-1f`: seconds, process, fraction, each in base 62 (Exim manual, "Message identification"). */
export type QueueId = string & { readonly [brand]: 'QueueId' };

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Writes `value` in base 62 with exactly `width` digits; higher digits are dropped. */
export function base62(value: number, width: number): string {
  let out = '';
  for (let rest = Math.floor(value), i = 0; i < width; i++) {
    out = digits.charAt(rest % 62) + out;
    rest = Math.floor(rest / 62);
  }
  return out;
}

const shape = /^[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}$/;

/** Reads a queue id; undefined where the text does not have the form. */
export function parseQueueId(text: string): QueueId | undefined {
  return shape.test(text) ? (text as QueueId) : undefined;
}

/**
 * Makes a generator of queue ids that never repeats within a process and differs between processes alive at one time.
 * The middle part counts up from the process number instead of repeating it, so that one process can take more than
 * the 2,000 messages a second that Exim's two fraction digits allow. Ids sort by time to the second.
 *
 * @param pid process number, in place of Exim's own
 * @param nowMs clock, milliseconds since 1970
 */
export function queueIdGenerator(pid: number, nowMs: () => number = Date.now): () => QueueId {
  let second = 0;
  let sequence = 0;
  const space = 62 ** 2;
  return () => {
    // The clock may step back: keep to the last second then, since the sequence tells ids of one second apart.
    const now = Math.max(second, Math.floor(nowMs() / 1000));
    if (now !== second) {
      second = now;
      sequence = 0;
    } else sequence++;
    // pid takes the low 22 bits of the middle (62^6 is about 2^35); what overflows the fraction goes above it.
    const middle = (pid % 2 ** 22) + Math.floor(sequence / space) * 2 ** 22;
    return `${base62(second, 6)}-${base62(middle, 6)}-${base62(sequence % space, 2)}` as QueueId;
  };
}
