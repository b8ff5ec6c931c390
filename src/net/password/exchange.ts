/** One question and one bounded answer over a UNIX socket, as the daemons that check passwords take them. */
import { connect } from 'node:net';
import { systemErrorText } from '../system-error.ts';

export interface Exchange {
  readonly path: string;
  readonly request: Buffer;
  /** Octets of the answer; what comes after them is not read. */
  readonly maxOctets: number;
  /** True once the answer is complete; the end of the connection completes it too. */
  readonly isWhole: (answer: Buffer) => boolean;
  /** For all of it. */
  readonly timeoutMs: number;
}

export type Exchanged =
  /** Possibly empty or cut short, where the other side closed. */
  | { readonly kind: 'answer'; readonly octets: Buffer }
  /** `stage`: nothing was sent yet, or something went wrong afterwards. */
  | { readonly kind: 'failed'; readonly stage: 'connect' | 'talk'; readonly reason: string };

export function exchange({ path, request, maxOctets, isWhole, timeoutMs }: Exchange): Promise<Exchanged> {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    let stage: 'connect' | 'talk' = 'connect';
    const socket = connect({ path });
    const settle = (result: Exchanged): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => {
      settle({ kind: 'failed', stage, reason: `no answer in ${timeoutMs / 1000} s` });
    }, timeoutMs);
    socket.on('connect', () => {
      stage = 'talk';
      socket.write(request);
    });
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]).subarray(0, maxOctets);
      if (answer.length === maxOctets || isWhole(answer)) settle({ kind: 'answer', octets: answer });
    });
    socket.on('end', () => settle({ kind: 'answer', octets: answer }));
    socket.on('error', (e) => settle({ kind: 'failed', stage, reason: systemErrorText(e) }));
  });
}
