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

/** Linux gives process numbers below 2^22 (PID_MAX_LIMIT), and 62^6 is about 2^35.7: the middle has room for 13,541 blocks of them. */
const pids = 2 ** 22;
/** Blocks of one epoch; a generator that uses them up within a second takes its next ids from the second after. */
const blocksPerEpoch = 16;
const epochs = Math.floor(62 ** 6 / pids / blocksPerEpoch);

/**
 * Makes a generator of queue ids that never repeats within a process and differs between processes alive at one time.
 * The middle part counts up from the process number instead of repeating it, so that one process can take more than
 * the 2,000 messages a second that Exim's two fraction digits allow (up to 61,504; beyond that it borrows from the
 * seconds to come). Ids of one generator sort in the order in which they were made, ids of all by time to the second.
 *
 * @param pid process number, in place of Exim's own
 * @param nowMs clock, milliseconds since 1970
 * @param epoch a number that a later process with the same pid does not get again soon (a count of starts kept on
 *   disk): a restart within one second, a clock that steps back and containers that share a spool then make other ids
 */
export function queueIdGenerator(pid: number, nowMs: () => number = Date.now, epoch = 0): () => QueueId {
  let second = -1;
  let prefix = '';
  let block = 0;
  let fraction = 0;
  const fractions = 62 ** 2;
  const firstBlock = (epoch % epochs) * blocksPerEpoch;
  const start = (newSecond: number, newBlock: number): void => {
    second = newSecond;
    block = newBlock;
    fraction = 0;
    prefix = `${base62(second, 6)}-${base62((pid % pids) + (firstBlock + block) * pids, 6)}-`;
  };
  return () => {
    // The clock may step back: keep to the last second then, since the count tells ids of one second apart.
    const now = Math.floor(nowMs() / 1000);
    if (now > second) start(now, 0);
    else if (fraction === fractions) {
      if (block + 1 === blocksPerEpoch) start(second + 1, 0);
      else start(second, block + 1);
    }
    return (prefix + base62(fraction++, 2)) as QueueId;
  };
}
