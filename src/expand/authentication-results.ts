/** The text of `${authresults`: an Authentication-Results line (RFC 8601) of what is known of this connection. */
import type { Frame } from './frame.ts';

function reverseLookup(fact: (name: string) => string, name: string | undefined): string {
  if (name !== undefined) return `;\n\tiprev=pass (${name})`;
  if (fact('host_lookup_deferred') === '1') return ';\n\tiprev=temperror';
  return fact('host_lookup_failed') === '1' ? ';\n\tiprev=fail' : '';
}

/** @param server the name of the system that did the checks */
export function authenticationResults(server: string, frame: Frame): string {
  const { connection, extra } = frame.scope;
  const fact = (name: string): string => extra?.get(name)?.text ?? '';
  let text = `Authentication-Results: ${server}`;
  const reverse = reverseLookup(fact, connection?.hostName);
  const address = connection?.hostAddress ?? '';
  if (reverse !== '') text += reverse + (address === '' ? '' : ` smtp.remote-ip=${address}`);
  const mechanism = fact('sender_host_authenticated');
  if (mechanism !== '') {
    const id = connection?.authenticatedId ?? '';
    text += `;\n\tauth=pass (${mechanism})${id === '' ? '' : ` smtp.auth=${id}`}`;
    const sender = fact('authenticated_sender');
    if (sender !== '') text += ` smtp.mailfrom=${sender}`;
  }
  if (text.includes(';') && connection !== undefined) frame.tainted = true;
  return text;
}
