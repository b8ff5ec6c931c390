// Mail sent by `mailchute send`, as an administrator types it.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './mailchute.ts';
import { runToEnd } from './process.ts';
import type { Letter, Sent } from './swaks.ts';

/** Sends one whole message; `folder` is for its file. The output has a line for each recipient. */
export function mailchuteSend(
  folder: string,
  port: number,
  letter: Letter & { readonly content: string },
): Promise<Sent> {
  const file = path.join(folder, `letter-${Math.random().toString(36).slice(2)}`);
  writeFileSync(file, letter.content, 'latin1');
  const words = ['--server', `127.0.0.1:${port}`, '--from', letter.from ?? 'sender@example.test'];
  for (const to of letter.to) words.push('--to', to);
  return runToEnd(path.join(root, 'bin/mailchute'), ['send', ...words, '--file', file], {
    timeoutMs: 60_000,
  });
}
