/** What is wrong with the quota settings of stores, told when the file is read and not when mail comes. */
import type { CheckedInstance } from '../../config/checked.ts';
import type { Diagnostic, SourceText } from '../../mail/diagnostic.ts';
import { readQuotaRules } from '../../store/quota/rules.ts';
import { readQuotaWarning } from '../../store/quota/warnings.ts';
import { backendsOf, readRoot } from './quota-root.ts';

export function brokenQuotas(stores: readonly CheckedInstance[]): Diagnostic[] {
  return stores.flatMap((store) =>
    Object.entries(checks).flatMap(([option, check]) =>
      (store.given.get(option)?.sources ?? []).flatMap((source) => {
        const problem = check(source, store);
        const message = `${store.name} store: ${option}: ${problem}`;
        return problem === undefined
          ? []
          : [{ severity: 'error', position: source.position, message } as const];
      }),
    ),
  );
}

/** By option: what is wrong with one of its texts. */
const checks: Readonly<Record<string, (text: SourceText, store: CheckedInstance) => string | undefined>> = {
  quota: ({ text }, { driver }) => problemOf(readRoot(text, backendsOf(driver))),
  // What is expanded is known when mail comes.
  quota_rule: ({ text }) => (/[$\\]/.test(text) ? undefined : problemOf(readQuotaRules([text], undefined))),
  quota_grace: ({ text }) => problemOf(readQuotaRules([], text)),
  quota_warning: ({ text }) => problemOf(readQuotaWarning(text)),
};

function problemOf(read: { readonly kind: string; readonly reason?: string }): string | undefined {
  return read.kind === 'refused' ? read.reason : undefined;
}
