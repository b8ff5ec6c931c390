import type { Running } from './serve.ts';

/** What `mailchute start` says when everything listens: what is where, who has a mailbox, and how to send a first message. */
export function startText(running: Running): string {
  const { edge, stores } = running;
  const [smtp] = edge?.addresses ?? [];
  const host = smtp === undefined || smtp.host === '0.0.0.0' || smtp.host === '::' ? '127.0.0.1' : smtp.host;
  const server = `${host.includes(':') ? `[${host}]` : host}:${smtp?.port ?? 25}`;
  const [user] = stores.flatMap((s) => s.users ?? []);
  return [
    placesText(running),
    ...stores.map((s) => `users  ${s.users?.join(', ') ?? '(cannot be listed)'} at example.test`),
    '',
    'send a first message with',
    `    bin/mailchute send${server === '127.0.0.1:2525' ? '' : ` --server ${server}`} --to ${user ?? 'user'}@example.test --text 'Hello'`,
    '',
  ].join('\n');
}

/** What listens where, and the log. */
export function placesText({ edge, stores, mainLogFile }: Running): string {
  return [
    ...(edge?.addresses ?? []).map(
      (a) => `SMTP   ${a.host.includes(':') ? `[${a.host}]` : a.host}:${a.port}`,
    ),
    ...stores.flatMap((s) => s.listening.map((l) => `LMTP   ${l}`)),
    `log    ${mainLogFile.replace('%s', 'main')}`,
  ].join('\n');
}
