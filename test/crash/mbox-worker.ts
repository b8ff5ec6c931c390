// Delivers into mbox files as fast as it can and writes to a ledger what was answered `stored`. Killed by mbox.test.ts.
//   node mbox-worker.ts ROOT LEDGER ROUND
import { appendFileSync } from 'node:fs';
import { deliveryTo, memoryContent, streamedContent } from '../../src/store/contract.ts';
import { openMboxStore } from '../../src/store/drivers/mbox/mbox.ts';

const [root = '', ledger = '', round = ''] = process.argv.slice(2);
if (root === '' || ledger === '' || round === '') throw new Error('usage: ROOT LEDGER ROUND');

const users = Array.from({ length: 4 }, (_, i) => ({ username: `user${i}`, extra: {} }));
const never = new AbortController().signal;
const store = openMboxStore({ locate: ({ username }) => ({ inbox: `${root}/${username}` }) });

async function lane(number: number): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `${round}.${number}.${n}`;
    // Every third is streamed and large, every second goes to several mailboxes.
    const text = `Id: ${id}\r\n\r\n${'line of text\r\nFrom me\r\n\r\n'.repeat(n % 3 === 0 ? 2000 : 20)}Id: ${id}\r\n`;
    const first = (number + n) % users.length;
    const chosen = [...users, ...users].slice(first, first + (n % 2 === 0 ? 1 : 3));
    const content = n % 3 === 0 ? streamedContent(text, 10_000) : memoryContent(text);
    const outcomes = await store.deliver(deliveryTo(chosen, content, true), never);
    const saved = outcomes.flatMap((o, i) => (o.kind === 'stored' ? [chosen[i]?.username] : []));
    if (saved.length !== chosen.length) throw new Error(`not stored: ${JSON.stringify(outcomes)}`);
    appendFileSync(ledger, `${id} ${saved.join(' ')}\n`);
  }
}

process.stdout.write('started\n');
await Promise.all(Array.from({ length: 12 }, (_, i) => lane(i)));
