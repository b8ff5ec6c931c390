/** `bin/exim -bP`. */
import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import type { EximArguments } from '../cli/exim-arguments.ts';
import { formatWithSource } from '../config/format.ts';
import type { ConfigModel } from '../config/model.ts';
import { printConfiguration } from '../config/print-command.ts';
import { readConfig } from '../config/read.ts';
import { aclMacros } from './acl-macros.ts';
import { chooseConfigFile } from './config-file.ts';
import { keptEnvironment } from './environment.ts';
import { groupNumber, userNumber } from './user-numbers.ts';

/** Gives the exit code. */
export function printConfig(a: EximArguments): number {
  const file = chooseConfigFile(a.configFile);
  const { model, lines, diagnostics, sources } = readConfig(file, {
    defines: a.defines,
    builtIn: aclMacros(),
  });
  for (const d of diagnostics) if (d.severity === 'error') console.error(formatWithSource(d, sources));
  if (model === undefined) return 1;
  const { out, err, failed } = printConfiguration(model, lines, {
    words: a.words,
    withoutNames: a.withoutNames,
    admin: isAdmin(model),
    hostname: hostname(),
    environment: keptEnvironment(
      model.main.keep_environment ?? [],
      model.main.add_environment ?? [],
      process.env,
    ),
  });
  // Configurations are octets, one a character.
  if (out.length > 0) process.stdout.write(Buffer.from(`${out.join('\n')}\n`, 'latin1'));
  for (const line of err) console.error(line);
  return failed ? 1 : 0;
}

/**
 * Who may see what is hidden (Exim manual, "Privileged users"): root, `exim_user`, the groups of `admin_groups`, and whoever
 * owns the file, since Mailchute never reads a file with more rights than its caller has.
 */
function isAdmin(model: ConfigModel): boolean {
  const uid = process.getuid?.() ?? 0;
  if (uid === 0 || ownerOf(model.file) === uid) return true;
  const [eximUser] = listOf(model, 'exim_user');
  if (eximUser !== undefined && userNumber(eximUser) === uid) return true;
  const groups = process.getgroups?.() ?? [];
  return listOf(model, 'admin_groups').some((group) => groups.includes(groupNumber(group) ?? -1));
}

function ownerOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.uid;
}

function listOf(model: ConfigModel, option: string): readonly string[] {
  const value = model.mainGiven.get(option)?.value;
  return Array.isArray(value) ? value.map(String) : typeof value === 'string' ? [value] : [];
}
