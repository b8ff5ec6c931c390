/**
 * Header sections as octets. Nothing here decodes or re-encodes: a message's header lines keep every octet
 * (RFC 5322 §2.2), and edits are kept beside the content, never written into it.
 */

/** A change to a message's header section, applied when the message is handed on. */
export type HeaderEdit =
  | { readonly kind: 'add'; readonly where: 'top' | 'bottom' | 'after-received'; readonly text: string }
  | { readonly kind: 'remove'; readonly name: string };

/** One header field: the name as written, and the whole field with its folding and final CRLF. */
export interface HeaderField {
  readonly name: string;
  readonly raw: string;
}
