/**
 * What stands in `From:` of messages made here (Exim manual, "dsn_from").
 *
 * @param main `dsnFrom`: the option, expanded; Exim's default where absent
 */
export function systemSender(main: { readonly dsnFrom?: string; readonly qualifyDomain: string }): string {
  return main.dsnFrom ?? `Mail Delivery System <Mailer-Daemon@${main.qualifyDomain}>`;
}
