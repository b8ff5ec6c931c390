/** What a router settles for a delivery on this machine beside the address (Exim manual, "The environment for running local transports"). */

/** A destination that a redirection names in place of an address. */
export interface DirectTarget {
  readonly kind: 'file' | 'directory' | 'pipe';
  /** The absolute path (that of a directory ends in `/`), or the command with its leading `|`: Exim's `$address_file`, `$address_pipe`. */
  readonly text: string;
}

/** The user a delivery is to run as, from `check_local_user` and the options `user` and `group` of a router. */
export interface DeliveryUser {
  readonly uid: number;
  readonly gid: number;
  /** The account's name where one is known: for its supplementary groups. */
  readonly name?: string;
  /** `initgroups`: take on the account's supplementary groups. */
  readonly initgroups: boolean;
}

export interface LocalDelivery {
  /** Absent: the transport's own options say where to. */
  readonly target?: DirectTarget;
  readonly user?: DeliveryUser;
  /** `$home`; absent where neither account nor option gives one. */
  readonly home?: string;
  readonly currentDirectory?: string;
}
