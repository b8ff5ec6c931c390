// Takes an mbox apart by Content-Length, strictly: whatever does not fit is an error.
import assert from 'node:assert/strict';

const separator = /^From (\S+) {2}\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}\n/;
const ofTheMailbox = /^(?:Content-Length|Status|X-IMAPbase|X-Keywords|X-Status|X-UID):.*\n/gm;

/** The messages in their order without the fields that belong to the mailbox, octets as latin1, line ends LF. */
export function mboxMessages(text: string): string[] {
  const messages: string[] = [];
  for (let at = 0; at < text.length; ) {
    const line = separator.exec(text.slice(at, at + 400));
    assert.ok(line !== null, `no From line at ${at}: ${JSON.stringify(text.slice(at, at + 120))}`);
    const begin = at + line[0].length;
    const end = text.indexOf('\n\n', begin);
    assert.ok(
      end > 0,
      `no end of the header from ${begin}: ${JSON.stringify(text.slice(begin, begin + 300))}`,
    );
    const header = text.slice(begin, end + 1);
    const length = /^Content-Length: (\d+) *$/m.exec(header)?.[1];
    assert.ok(length !== undefined, `no length: ${JSON.stringify(header)}`);
    const bodyEnd = end + 2 + Number(length);
    assert.equal(text.slice(bodyEnd, bodyEnd + 1), '\n', `no empty line at ${bodyEnd} of ${text.length}`);
    messages.push(`${header.replace(ofTheMailbox, '')}\n${text.slice(end + 2, bodyEnd)}`);
    at = bodyEnd + 1;
  }
  return messages;
}
