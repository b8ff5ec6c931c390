import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { isSyntaxError, parseAddress, type Address } from '../mail/address.ts';
import { parseQueueId, type QueueId } from '../mail/message-id.ts';
import { openLogFile } from './log-file.ts';
import { logText } from './log-text.ts';
import { logPath } from './logs.ts';
import type { LogItems } from './log-items.ts';
import { arrivalLine, rejectedRcpt, rejectionLine } from './reception-lines.ts';

function address(text: string): Address {
  const a = parseAddress(text);
  assert.ok(!isSyntaxError(a));
  return a;
}

function id(text: string): QueueId {
  const q = parseQueueId(text);
  assert.ok(q !== undefined);
  return q;
}

/** Of the default selection, what these lines look at. */
const items: LogItems = new Set(['msg_id', 'smtp_confirmation', 'retry_defer']);

const client = { hostAddress: '127.0.0.1', helo: 'client.test' };

// The expected lines were written by the real Exim 4.96 for the same dialogue.
test('arrival and rejection lines have the form of Exim', () => {
  assert.equal(
    arrivalLine(
      {
        id: id('1xVlgV-0002FL-1K'),
        sender: address('s@b.example'),
        client,
        protocol: 'esmtp',
        size: 453,
        messageId: '20261124081527.008636@vm',
      },
      items,
    ),
    '1xVlgV-0002FL-1K <= s@b.example H=(client.test) [127.0.0.1] P=esmtp S=453 id=20261124081527.008636@vm',
  );
  assert.equal(
    rejectionLine(
      {
        client,
        sender: address('s@b.example'),
        temporary: false,
        what: rejectedRcpt(address('badu@tcp.test')),
        reason: 'invalid recipient',
      },
      items,
    ),
    'H=(client.test) [127.0.0.1] F=<s@b.example> rejected RCPT <badu@tcp.test>: invalid recipient',
  );
  assert.equal(
    arrivalLine(
      {
        id: id('1xVlgV-0002FP-1R'),
        sender: null,
        reportOn: id('1xVlgV-0002FL-1K'),
        protocol: 'local',
        size: 1719,
      },
      items,
    ),
    '1xVlgV-0002FP-1R <= <> R=1xVlgV-0002FL-1K P=local S=1719',
  );
});

test('no octet can forge a line', () => {
  assert.equal(logText('a\nb\x00\xe9'), 'a\\nb\\000\\351');
});

test('log_file_path: %s, %D and the default', () => {
  const day = new Date(2026, 10, 24, 12).getTime();
  assert.equal(logPath({ logFilePath: '', spoolDirectory: '/s' }, 'main', day), '/s/log/mainlog');
  assert.equal(
    logPath({ logFilePath: '/l/%s-%D', spoolDirectory: '/s' }, 'reject', day),
    '/l/reject-20261124',
  );
  // The examples of Exim's manual, "Datestamped log files".
  for (const [template, panic] of [
    ['/l/%slog-%D', '/l/paniclog'],
    ['/l/exim-%s-%D.log', '/l/exim-panic.log'],
    ['/l/%D-%slog', '/l/paniclog'],
    ['/l/%s.%M', '/l/panic'],
  ] as const)
    assert.equal(logPath({ logFilePath: template, spoolDirectory: '/s' }, 'panic', day), panic);
});

test('a log that was moved away is made anew', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-log-'));
  const file = path.join(folder, 'sub/mainlog');
  const faults: unknown[] = [];
  const log = openLogFile(
    () => file,
    (e) => faults.push(e),
    0,
  );
  log.append('one');
  log.append('two');
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  renameSync(file, `${file}.1`);
  log.append('three');
  log.close();
  assert.equal(readFileSync(`${file}.1`, 'latin1'), 'one\ntwo\n');
  assert.equal(readFileSync(file, 'latin1'), 'three\n');
  assert.deepEqual(faults, []);
  rmSync(folder, { recursive: true });
});
