/** `require_files` (Exim manual, "Generic options for routers"). */
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { splitList } from '../mail/list-text.ts';
import type { FileState, LocalMachine, LocalUsers } from './router.ts';

export type Required = 'met' | 'unmet' | { readonly defer: string };

interface Who {
  readonly uid: number;
  readonly groups: readonly number[];
}

/**
 * Each path must exist, or must not after a `!`. An item without a slash names the user (and group, after a comma) for
 * whom the rest must be accessible by the mode bits. A `+` before it: EACCES counts as "does not exist".
 */
export async function checkRequiredFiles(
  list: string,
  scope: ExpandScope,
  { users, fileState }: LocalMachine,
): Promise<Required> {
  let who: Who | undefined;
  let deniedIsMissing = false;
  for (const item of splitList(list)) {
    const expanded = await expandText(item, scope);
    if (expanded.kind === 'forced-fail') continue;
    if (expanded.kind !== 'ok')
      return { defer: `failed to expand "${item}" for require_files: ${expanded.reason}` };
    let text = expanded.text.trim();
    if (text === '') continue;
    if (!text.includes('/')) {
      if (text === '+') {
        deniedIsMissing = true;
        continue;
      }
      const found = findWho(text, users);
      if (typeof found === 'string') return { defer: found };
      who = found;
      continue;
    }
    let wanted = true;
    if (text.startsWith('!')) {
      wanted = false;
      text = text.slice(1).trimStart();
    }
    if (text.startsWith('+')) {
      deniedIsMissing = true;
      text = text.slice(1).trimStart();
    }
    if (!text.startsWith('/')) return { defer: `require_files: "${text}" is not a fully qualified path` };
    if (expanded.tainted)
      return { defer: `require_files: tainted file name "${text}": use $local_part_data or $domain_data` };
    const exists = look(text, who, deniedIsMissing, fileState);
    if (typeof exists === 'string') return { defer: exists };
    if (exists !== wanted) return 'unmet';
  }
  return 'met';
}

function findWho(text: string, users: LocalUsers): Who | string {
  const [name = '', group] = text.split(',').map((part) => part.trim());
  const user = /^\d+$/.test(name) ? users.byUid(Number(name)) : users.byName(name);
  const uid = user?.uid ?? (/^\d+$/.test(name) ? Number(name) : undefined);
  if (uid === undefined) return `user "${name}" for require_files not found`;
  const gid = group === undefined ? user?.gid : users.groupNumber(group);
  if (gid === undefined) return `group "${group ?? ''}" for require_files not found`;
  return { uid, groups: [gid] };
}

/** A text: it cannot be told. */
function look(
  file: string,
  who: Who | undefined,
  deniedIsMissing: boolean,
  fileState: LocalMachine['fileState'],
): boolean | string {
  const state = fileState(file);
  if (state.kind === 'missing' || (state.kind === 'denied' && deniedIsMissing)) return false;
  if (state.kind === 'denied') return denied(file);
  if (state.kind === 'unknown') return `require_files: error for ${file}: ${state.reason}`;
  if (who === undefined || who.uid === 0) return true;
  let readable = allows(state, who, 4);
  for (let dir = file; readable && dir !== ''; ) {
    dir = dir.slice(0, dir.lastIndexOf('/'));
    readable = allows(fileState(dir === '' ? '/' : dir), who, 1);
  }
  if (readable) return true;
  return deniedIsMissing ? false : denied(file);
}

function denied(file: string): string {
  return `require_files: error for ${file}: Permission denied`;
}

function allows(state: FileState, who: Who, bit: number): boolean {
  if (state.kind !== 'found') return false;
  if (state.uid === who.uid) return (state.mode & (bit << 6)) !== 0;
  if (who.groups.includes(state.gid)) return (state.mode & (bit << 3)) !== 0;
  return (state.mode & bit) !== 0;
}
