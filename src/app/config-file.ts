/** Which configuration file is meant (Exim manual, "Using a different configuration file"). */
import { existsSync } from 'node:fs';

/** Where the configuration is when -C does not say. */
export const defaultConfigFile = '/etc/mailchute/mailchute.conf';

/** The first file of a `-C` list that exists; the whole text where none does, so that the error names it. */
export function chooseConfigFile(given: string | undefined): string {
  if (given === undefined) return defaultConfigFile;
  const files = given
    .split(':')
    .map((f) => f.trim())
    .filter((f) => f !== '');
  return files.find((f) => existsSync(f)) ?? given;
}
