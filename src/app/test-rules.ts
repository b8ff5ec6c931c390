/** `bin/exim -brw` and `-brt` (Exim manual, "Command line options by function"). */
import type { EximArguments } from '../cli/exim-arguments.ts';
import { isSyntaxError, parseAddress, type ReversePath } from '../mail/address.ts';
import { chooseConfigFile } from './config-file.ts';
import { loadOrComplain } from './load-or-complain.ts';
import { withTestedAclCalls } from './acl-test-calls.ts';
import { testRetry } from './test-retry.ts';
import { testRewrite } from './test-rewrite.ts';

/** Gives the exit code. */
export async function testRules(a: EximArguments): Promise<number> {
  const tell = (line: string): void => console.error(line);
  const program = loadOrComplain(chooseConfigFile(a.configFile), a.defines, tell);
  if (program === undefined) return 1;
  const words = a.words.map((word) => Buffer.from(word, 'utf8').toString('latin1'));
  if (a.mode === 'test-retry') {
    const sender = senderOf(a.sender);
    if (typeof sender === 'string') {
      tell(`exim: bad -f address "${a.sender}": ${sender}`);
      return 1;
    }
    const { lines, failed } = await testRetry(program, words, sender, tell);
    print(lines);
    return failed ? 1 : 0;
  }
  const [address] = words;
  if (address === undefined) {
    print(['-brw needs an address argument']);
    return 1;
  }
  print(await testRewrite({ ...program, services: withTestedAclCalls(program) }, address, tell));
  return 0;
}

function senderOf(text: string | undefined): ReversePath | undefined | string {
  if (text === undefined) return undefined;
  if (text === '') return null;
  const address = parseAddress(Buffer.from(text, 'utf8').toString('latin1'));
  return isSyntaxError(address) ? address.text : address;
}

/** Texts are octets, one a character. */
function print(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(Buffer.from(`${lines.join('\n')}\n`, 'latin1'));
}
