/** Who has a mailbox in a store, by its options. */
import type { StoreInstance } from '../../config/model.ts';
import type { Directory } from '../../directory/directory.ts';
import { openPasswdFile } from '../../directory/drivers/passwd-file.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import type { Program } from '../program.ts';
import { withMaildir } from './mail-location.ts';
import { required } from './required.ts';

export function openDirectory(instance: StoreInstance, { main, services }: Program, logs: Logs): Directory {
  const o = instance.options;
  const users = openPasswdFile({
    file: required(o.passwd_file, instance.name, 'passwd_file'),
    usernameFormat: o.username_format === 'address' ? 'address' : 'local-part',
    onProblem: (text) => logs.panic(logText(text)),
  });
  return withMaildir(users, required(o.maildir, instance.name, 'maildir'), { main, services });
}
