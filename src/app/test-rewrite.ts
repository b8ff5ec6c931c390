/** `bin/exim -brw`: how the rewriting rules change an address, for each place where it may stand. */
import { extractAddress } from '../mail/extract-address.ts';
import { rewriteAddress } from '../rewrite/rewrite.ts';
import { commonPlaces, type RewritePlace } from '../rewrite/rules.ts';
import { noMessage } from './no-message.ts';
import type { Program } from './program.ts';

const labelWidth = 8;

/** Gives the lines for standard output. `problem` is told what Exim logs. */
export async function testRewrite(
  { main, services, rewriteRules: rules }: Pick<Program, 'main' | 'services' | 'rewriteRules'>,
  text: string,
  problem: (text: string) => void,
): Promise<readonly string[]> {
  if (rules.length === 0) return ['No rewrite rules are defined'];
  const message = noMessage(null);
  const context = { rules, scope: { main, services, message }, problem };
  const exists = (wanted: (place: RewritePlace) => boolean): boolean =>
    rules.some((rule) => [...rule.places].some(wanted));
  const out: string[] = [];
  if (exists((place) => place === 'smtp')) {
    const { address, changed } = await rewriteAddress(text, 'smtp', context);
    if (changed && address !== text) out.push(`    SMTP: ${address === '' ? '""' : address}`);
  }
  if (!exists((place) => place !== 'smtp')) return out;
  const full = text.includes('@') ? text : `${text}@${main.qualifyRecipient}`;
  const parsed = extractAddress(full);
  if ('error' in parsed) {
    if (out.length > 0) return out;
    return [`Syntax error in ${full}`, parsed.error.charAt(0).toUpperCase() + parsed.error.slice(1)];
  }
  for (const place of commonPlaces) {
    const { address, item } = await rewriteAddress(parsed.address, place, context);
    const shown =
      address === ''
        ? '<>'
        : (item ??
          (place.startsWith('env-')
            ? address
            : full.slice(0, parsed.start) + address + full.slice(parsed.end)));
    out.push(`${place.padStart(labelWidth)}: ${shown}`);
  }
  return out;
}
