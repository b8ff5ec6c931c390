// An LMTP server of the transcripts as a process of its own, so that what it takes of memory can be seen.
//   node test/transcripts/lmtp-process.ts [CERTIFICATE KEY]      prints its port
import { newSeen, startLmtp } from './servers.ts';

const [certificateFile, privateKeyFile] = process.argv.slice(2);
const tls = certificateFile !== undefined && privateKeyFile !== undefined;
const listener = await startLmtp(
  newSeen(),
  { limits: { maxMessageOctets: 1_000_000 } },
  tls ? { tls: { certificateFile, privateKeyFile } } : {},
);
if (listener.address.kind === 'tcp') console.log(`port ${listener.address.port}`);
