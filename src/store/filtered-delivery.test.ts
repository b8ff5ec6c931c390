import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MessageSource } from '../mail/message-source.ts';
import { deliveryTo, memoryContent } from './contract.ts';
import { detailFilter } from './detail-filter.ts';
import { deliverFiltered } from './filtered-delivery.ts';
import type { DeliveryFilter, FilterVerdict } from './filter.ts';
import type { MailStore, StoreDelivery, StoreOutcome } from './mail-store.ts';

const never = new AbortController().signal;
const content = memoryContent('Subject: x\r\n\r\n');
const users = (count: number): { username: string; extra: {} }[] =>
  Array.from({ length: count }, (_, i) => ({ username: `user${i}`, extra: {} }));

/** A store that has the folders named, and notes what it was asked for. */
function storeWith(...folders: string[]): MailStore & { asked: string[][] } {
  const asked: string[][] = [];
  return {
    asked,
    deliver: (d) => {
      asked.push(
        d.recipients.map(
          (r, i) => `${r.user.username} ${r.folder ?? '-'} ${r.missingFolder ?? '-'} ${d.trace(i).trim()}`,
        ),
      );
      return Promise.resolve(
        d.recipients.map(
          (r): StoreOutcome =>
            r.folder === undefined || folders.includes(r.folder)
              ? { kind: 'stored' }
              : { kind: 'no-folder', reason: 'not there' },
        ),
      );
    },
    close: () => Promise.resolve(),
  };
}

/** A verdict for each user, by its number. */
function verdicts(...all: FilterVerdict[]): DeliveryFilter {
  return {
    judge: ({ recipient }) => {
      const verdict = all[Number(recipient.user.username.slice(4))];
      if (verdict === undefined) throw new Error('broken script');
      return verdict;
    },
  };
}

test('each recipient as the filter wants it, in order, each with its own trace', async () => {
  const store = storeWith('A');
  const filed = await deliverFiltered(
    store,
    verdicts(
      { kind: 'discard' },
      { kind: 'file', folder: 'A', missingFolder: 'create', shown: 'a!' },
      { kind: 'refuse', text: 'no' },
      { kind: 'keep' },
      { kind: 'refuse', text: 'not now', temporary: true },
      { kind: 'file', folder: 'B' },
      { kind: 'keep', failed: { folder: '..', reason: 'no name' } },
    ),
    deliveryTo(users(8), content),
    never,
  );
  assert.deepEqual(filed, [
    { fate: { kind: 'discarded' }, folder: 'INBOX' },
    { fate: { kind: 'stored' }, folder: 'a!' },
    { fate: { kind: 'refused', text: 'no' }, folder: 'INBOX' },
    { fate: { kind: 'stored' }, folder: 'INBOX' },
    { fate: { kind: 'put-off', text: 'not now' }, folder: 'INBOX' },
    { fate: { kind: 'stored' }, folder: 'INBOX', failed: { folder: 'B', reason: 'not there' } },
    { fate: { kind: 'stored' }, folder: 'INBOX', failed: { folder: '..', reason: 'no name' } },
    { fate: { kind: 'unavailable', reason: 'filter: broken script' }, folder: 'INBOX' },
  ]);
  assert.deepEqual(store.asked, [
    ['user1 A create Trace: 1', 'user3 - - Trace: 3', 'user5 B refuse Trace: 5', 'user6 - - Trace: 6'],
    ['user5 - refuse Trace: 5'],
  ]);
});

test('nothing is stored where all is thrown away, and a store that fails fails each', async () => {
  const store = storeWith();
  await deliverFiltered(store, verdicts({ kind: 'discard' }), deliveryTo(users(1), content), never);
  assert.deepEqual(store.asked, []);
  const broken: MailStore = { ...store, deliver: () => Promise.reject(new Error('disk')) };
  for (const filter of [undefined, verdicts({ kind: 'keep' }, { kind: 'file', folder: 'A' })]) {
    const filed = await deliverFiltered(broken, filter, deliveryTo(users(2), content), never);
    assert.deepEqual(
      filed.map((f) => f.fate),
      [1, 2].map(() => ({ kind: 'unavailable', reason: 'disk' })),
    );
  }
});

test('the detail filter: a folder for each detail, and the content is not opened', async () => {
  const unread: MessageSource = {
    size: 10,
    open: () => {
      throw new Error('the content was opened');
    },
  };
  const filter = detailFilter({ separator: '.', missingFolder: 'create' });
  const judge = async (detail?: string): Promise<FilterVerdict> => {
    const delivery: StoreDelivery = deliveryTo(users(1), unread);
    const [recipient] = delivery.recipients;
    if (recipient === undefined) throw new Error('nobody');
    return filter.judge(
      {
        sender: null,
        content: unread,
        recipient: { ...recipient, ...(detail === undefined ? {} : { detail }) },
      },
      never,
    );
  };
  assert.deepEqual(await judge(), { kind: 'keep' });
  assert.deepEqual(await judge(''), { kind: 'keep' });
  assert.deepEqual(await judge('Work.2026'), {
    kind: 'file',
    folder: 'Work/2026',
    missingFolder: 'create',
    shown: 'Work.2026',
  });
  assert.equal((await judge('a/b')).kind, 'keep');
});
