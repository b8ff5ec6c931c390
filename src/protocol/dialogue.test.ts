import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDialogue, type DialogueLink, type DialogueLogic } from './dialogue.ts';
import { Receiver } from './receiver.ts';

const limits = { maxCommandOctets: 512, maxDataLineOctets: 0, maxMessageOctets: 0 };

test('a client that sends thousands of commands at once leaves others their turn', async () => {
  const chunks = [Buffer.from('NOOP\r\n'.repeat(5000))];
  const commandsBefore: number[] = [];
  let commands = 0;
  const link: DialogueLink = {
    hasInput: false,
    isCongested: false,
    tryRead: () => chunks.shift(),
    read: async () => 'end',
    write: () => undefined,
    drained: async () => true,
    breathe: async () => void commandsBefore.push(commands),
  };
  const logic: DialogueLogic = {
    command: () => {
      commands++;
      return 'command';
    },
    commandFault: () => 'close',
    content: () => undefined,
    contentFault: () => undefined,
    contentEnd: () => 'command',
    interrupted: () => undefined,
    crashed: (error) => {
      throw error;
    },
  };
  await runDialogue(link, new Receiver(limits), logic, 1000);
  assert.equal(commands, 5000);
  assert.ok(commandsBefore.length >= 50, `${commandsBefore.length} turns`);
  commandsBefore.forEach((n, i) => assert.ok(n - (commandsBefore[i - 1] ?? 0) <= 100));
});
