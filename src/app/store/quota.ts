/** Quotas of a store, by its options. */
import type { StoreInstance } from '../../config/model.ts';
import { logText } from '../../observe/log-text.ts';
import type { Logs } from '../../observe/logs.ts';
import type { Owner } from '../../store/drivers/maildir/walk.ts';
import type { MailStore } from '../../store/mail-store.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import { quotaAccounts } from '../../store/quota/accounts.ts';
import { maildirsizeSource } from '../../store/quota/maildirsize-source.ts';
import type { MaildirPlace } from '../../store/quota/maildirsize-source.ts';
import { mboxSource } from '../../store/quota/mbox-source.ts';
import type { MboxFiles } from '../../store/quota/mbox-source.ts';
import { scanSource } from '../../store/quota/scan-source.ts';
import type { UsageSource } from '../../store/quota/usage.ts';
import { withQuota } from '../../store/quota/with-quota.ts';
import type { Program } from '../program.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';
import { mboxPlaces } from './mbox-places.ts';
import { quotaPolicies } from './quota-policy.ts';
import { warningCommands } from './quota-warnings.ts';

/** One for all stores: two of them may deliver to one user. */
const accounts = quotaAccounts();

/** The store itself where it has no quotas. Throws where an option cannot be used. */
export function withStoreQuota(
  store: MailStore,
  instance: StoreInstance,
  program: Program,
  logs: Logs,
): MailStore {
  const { name, options: o } = instance;
  if (o.quota === undefined) return store;
  const tell = (text: string): void => logs.main(logText(`${name}: ${text}`));
  const sources = sourcesOf(instance, program);
  const commands = warningCommands(program, o.quota_warning_timeout, tell);
  const limited = withQuota(store, {
    policyOf: quotaPolicies(instance, program, sources),
    accounts,
    onWarning: (user, warning) => commands.run(user, warning),
    onProblem: tell,
  });
  return {
    deliver: (delivery, signal) => limited.deliver(delivery, signal),
    ...(limited.holds === undefined ? {} : { holds: (token) => limited.holds?.(token) ?? false }),
    ...(o.lmtp_rcpt_check_quota
      ? { check: (user, folder, declaredBytes) => limited.check?.(user, folder, declaredBytes) }
      : {}),
    async close() {
      await limited.close();
      commands.close();
      for (const source of sources.values()) source.close();
    },
  };
}

/** What may stand in `quota`, by the kind of mailboxes. */
function sourcesOf(instance: StoreInstance, program: Program): ReadonlyMap<string, UsageSource> {
  if (instance.driver === 'mbox')
    return new Map([['dirsize', mboxSource(mboxFiles(instance.options, program))]]);
  const usage = { locate: maildirPlaces(instance.options.maildir_layout), ownerOf: ownerRule(instance) };
  return new Map([
    ['maildir', maildirsizeSource(usage)],
    ['count', scanSource(usage)],
  ]);
}

function mboxFiles(
  options: Parameters<typeof mboxPlaces>[0],
  program: Program,
): (user: MailUser) => Promise<MboxFiles> {
  const locate = mboxPlaces(options, program);
  return async (user) => {
    const places = await locate(user);
    if ('refused' in places) throw new Error(places.refused);
    const { inbox, folders } = places;
    return { inbox: nodePath(inbox), ...(folders === undefined ? {} : { folders: nodePath(folders) }) };
  };
}

function maildirPlaces(layout: MaildirPlace['layout']): (user: MailUser) => MaildirPlace {
  return ({ username, maildir, maildirLayout = layout, inbox }) => {
    if (maildir === undefined) throw new Error(`nothing says where the mail of ${username} lies`);
    return {
      path: nodePath(maildir),
      layout: maildirLayout,
      ...(inbox === undefined ? {} : { inbox: nodePath(inbox) }),
    };
  };
}

/** Node writes paths as UTF-8. Throws where the octets are not. */
function nodePath(octets: string): string {
  return strictUtf8.decode(Buffer.from(octets, 'latin1'));
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** As the maildir driver has it: only root changes owners. */
function ownerRule({ options: o }: StoreInstance): (user: MailUser) => Owner | undefined {
  if (process.geteuid?.() !== 0) return () => undefined;
  const defaultUid = o.user === undefined ? undefined : userNumber(o.user);
  const defaultGid = o.group === undefined ? undefined : groupNumber(o.group);
  return (user) => {
    const uid = user.uid ?? defaultUid;
    const gid = user.gid ?? defaultGid;
    return uid === undefined || gid === undefined || (uid === 0 && gid === 0) ? undefined : { uid, gid };
  };
}
