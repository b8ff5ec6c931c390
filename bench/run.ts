// `npm run bench`: ours beside the real Exim and the real Dovecot, in one run, as ratios. Rounds alternate between the two, and
// each figure is the median of its rounds, since machines are noisy; CPU time is the figure that noise moves least.
// Needs exim4 and dovecot-lmtpd (`npm test` installs them as root).
import os from 'node:os';
import { findProgram } from '../test/support/peers.ts';
import { directComparisons } from './direct.ts';
import { relayComparisons } from './relay.ts';
import { storeComparisons } from './store.ts';
import { readArguments } from './support/arguments.ts';
import { removeFolders } from './support/bench.ts';
import { canMakeFileSystem } from './support/file-system.ts';
import { verifyComparisons } from './verify.ts';

const { only, ...o } = readArguments({
  rounds: 3,
  messages: 4000,
  peerMessages: 800,
  storeMessages: 6000,
  questions: 8000,
  idle: 1000,
  size: 4096,
  sessions: 16,
  warmUp: 16_000,
  storeSessions: 0,
  only: '',
});
const comparisons = [...relayComparisons, ...storeComparisons, ...verifyComparisons, ...directComparisons];
const chosen = comparisons.filter(({ name }) => name.startsWith(only));
if (chosen.length === 0)
  throw new Error(`--only: the beginning of one of ${comparisons.map(({ name }) => name).join(' ')}`);
for (const program of ['exim4', 'dovecot'])
  if (findProgram(program) === undefined) throw new Error(`${program} is not installed`);
process.env['UV_THREADPOOL_SIZE'] ??= '16';
console.log(
  `${os.cpus().length} cores, Node ${process.version}, ${o.rounds} rounds, medians (slowest to fastest), ${
    canMakeFileSystem()
      ? 'each on a new ext4 of its own'
      : 'in the temporary folder (a new file system needs root and loop devices)'
  }\n`,
);
try {
  for (const comparison of chosen) {
    await comparison.run(o);
    removeFolders();
  }
} finally {
  removeFolders();
}
