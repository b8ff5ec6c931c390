/** The jobs that a local delivery does on files. Where they run is another matter: see run-as.ts. */
import { appendToMailbox, type MailboxJob } from './mailbox-file.ts';
import { type MaildirJob, writeToMaildir } from './maildir-file.ts';
import { codeOf, errorWords, type JobOutcome } from './outcome.ts';
import { appendLog, askOnce, type LogJob, type OnceJob, readText, type ReadJob } from './side-files.ts';

export type Job = MailboxJob | MaildirJob | ReadJob | LogJob | OnceJob;

/** Never rejects: what goes wrong is put off. */
export async function runJob(job: Job, content: AsyncIterable<Buffer>): Promise<JobOutcome> {
  try {
    switch (job.kind) {
      case 'mailbox':
        return await appendToMailbox(job, content);
      case 'maildir':
        return await writeToMaildir(job, content);
      case 'read':
        return await readText(job);
      case 'log':
        return await appendLog(job);
      case 'once':
        return await askOnce(job);
    }
  } catch (error) {
    const place = job.kind === 'maildir' ? job.directory : job.path;
    // A symbolic link where none may be: the system says so by these words.
    const words = codeOf(error) === 'ELOOP' ? 'it is a symlink' : errorWords(error);
    return { kind: 'deferred', text: `failed to open ${place}: ${words}` };
  }
}
