/** A model on its way to be checked. */
import type { SourcePosition } from '../mail/diagnostic.ts';
import type { ConfigModel, GivenOptions } from './model.ts';

/** What the model holds before it is known to be right; instances that are wrong in themselves are not in it. */
export interface Checked
  extends Omit<ConfigModel, 'routers' | 'transports' | 'authenticators' | 'stores' | 'directories'> {
  readonly routers: readonly CheckedInstance[];
  readonly transports: readonly CheckedInstance[];
  readonly authenticators: readonly CheckedInstance[];
  readonly stores: readonly CheckedInstance[];
  readonly directories: readonly CheckedInstance[];
}

export interface CheckedInstance {
  readonly name: string;
  readonly driver: string;
  readonly position: SourcePosition;
  readonly given: GivenOptions;
}
