/** A host that a router chose. Exim lets the transport supply the port where the router names none. */
export interface RouteHost {
  /** The name as the configuration has it. */
  readonly name: string;
  /** The IP address it was resolved to; absent where the transport does not use the host (the lmtp transport with a socket). */
  readonly address?: string;
  readonly port?: number;
  /** MX preference or SRV priority, where the DNS named it. */
  readonly mx?: number;
}
