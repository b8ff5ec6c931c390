import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reply } from '../../mail/reply.ts';
import type { DialogueLink } from '../../protocol/dialogue.ts';
import type { MessageSink, SessionHandler, SessionOptions } from './handler.ts';
import { runSmtpSession } from './session.ts';

const options: SessionOptions = {
  hostname: 'edge.example.test',
  enforceSync: false,
  limits: {
    maxCommandOctets: 512,
    maxDataLineOctets: 0,
    maxMessageOctets: 0,
    maxRecipients: 0,
    maxSyntaxErrors: 3,
    maxUnknownCommands: 3,
    idleTimeoutMs: 1000,
  },
};

/** Runs a client that sends everything at once; gives what it was told and what became of its sinks. */
async function talk(
  said: string,
  sink: MessageSink,
): Promise<{ readonly codes: string[]; readonly errors: unknown[] }> {
  const chunks = [Buffer.from(said, 'latin1')];
  const errors: unknown[] = [];
  let out = '';
  const link: DialogueLink = {
    hasInput: false,
    isCongested: false,
    tryRead: () => chunks.shift(),
    read: () => Promise.resolve('end'),
    write: (text) => {
      out += text;
    },
    drained: () => Promise.resolve(true),
  };
  const ok = (code: number) => () => Promise.resolve({ reply: reply(code, undefined, 'fine') });
  const handler: SessionHandler = {
    connect: ok(220),
    helo: ok(250),
    mail: ok(250),
    rcpt: ok(250),
    vrfy: ok(252),
    data: () => Promise.resolve(sink),
    reset: () => undefined,
    protocolError: () => undefined,
    closed: () => undefined,
  };
  await runSmtpSession(link, handler, { ...options, onError: (error) => errors.push(error) });
  return { codes: [...out.matchAll(/^(\d{3}) /gm)].map((m) => m[1] ?? ''), errors };
}

const envelope = 'MAIL FROM:<a@a.test>\r\nRCPT TO:<b@a.test>\r\nDATA\r\n';

test('a message whose end could not be dealt with is given up, and the client is told to come again', async () => {
  const calls: string[] = [];
  const fault = new Error('broken');
  const sink: MessageSink = {
    write: () => undefined,
    end: () => {
      calls.push('end');
      return Promise.reject(fault);
    },
    abort: async () => {
      calls.push('abort');
    },
  };
  const { codes, errors } = await talk(`EHLO c.test\r\n${envelope}x\r\n.\r\nQUIT\r\n`, sink);
  assert.deepEqual(codes, ['220', '250', '250', '250', '354', '451', '221']);
  assert.deepEqual(calls, ['end', 'abort']);
  assert.deepEqual(errors, [fault]);
});

test('a sink that took its message is not aborted afterwards', async () => {
  const calls: string[] = [];
  const sink: MessageSink = {
    write: () => undefined,
    end: () => {
      calls.push('end');
      return Promise.resolve({ reply: reply(250, '2.0.0', 'OK') });
    },
    abort: async () => {
      calls.push('abort');
    },
  };
  const twice = `${envelope}x\r\n.\r\n`.repeat(2);
  const { codes } = await talk(`EHLO c.test\r\n${twice}`, sink);
  assert.deepEqual(codes.slice(2), ['250', '250', '354', '250', '250', '250', '354', '250']);
  assert.deepEqual(calls, ['end', 'end']);
});
