/** Octets and messages; as a limit 0 stands for none. */
export interface Amount {
  readonly bytes: number;
  readonly messages: number;
}

export const nothing: Amount = { bytes: 0, messages: 0 };

export function sum(a: Amount, b: Amount): Amount {
  return { bytes: a.bytes + b.bytes, messages: a.messages + b.messages };
}
