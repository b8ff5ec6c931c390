/** The setting `quota`: what counts, and how (Dovecot manual, "Quota Configuration"). Pure text work. */
import type { Read } from '../../store/quota/rules.ts';

export interface QuotaRoot {
  readonly backend: string;
  readonly enforced: boolean;
  readonly ignoreUnlimited: boolean;
}

/** What may count, by the driver of a store. */
export function backendsOf(driver: string): readonly string[] {
  return driver === 'mbox' ? ['dirsize'] : ['maildir', 'count'];
}

/** `maildir:User quota:noenforcing`. The name is what IMAP shows, and nothing here. */
export function readRoot(text: string, backends: readonly string[]): Read<QuotaRoot> {
  const [backend = '', , ...parameters] = text.split(':');
  if (!backends.includes(backend))
    return { kind: 'refused', reason: `"${backend}" cannot count here, only ${backends.join(' or ')}` };
  // How IMAP shows it is no matter of a store.
  for (const parameter of parameters)
    if (!['noenforcing', 'ignoreunlimited', 'hidden'].includes(parameter))
      return { kind: 'refused', reason: `the parameter "${parameter}" is not supported` };
  return {
    kind: 'ok',
    value: {
      backend,
      enforced: !parameters.includes('noenforcing'),
      ignoreUnlimited: parameters.includes('ignoreunlimited'),
    },
  };
}
