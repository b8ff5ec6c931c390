/** Packages that only some configurations need: they are loaded at the first lookup of their type. */
import { errorText } from '../../mail/error-text.ts';

/** The package, or why it cannot be used. */
export type Loaded<T> =
  | { readonly kind: 'loaded'; readonly module: T }
  | { readonly kind: 'unusable'; readonly reason: string };

/**
 * @param load an `import()` of the package
 * @returns a function that loads once; a failure is tried again at the next call
 */
export function optionalPackage<T>(
  type: string,
  name: string,
  load: () => Promise<T>,
): () => Promise<Loaded<T>> {
  let loaded: Loaded<T> | undefined;
  return async () => {
    if (loaded !== undefined) return loaded;
    try {
      return (loaded = { kind: 'loaded', module: await load() });
    } catch (e) {
      const missing = e instanceof Error && (e as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
      const why = missing
        ? `is not installed; install it with: npm install ${name}`
        : `cannot be loaded: ${errorText(e)}`;
      return { kind: 'unusable', reason: `the ${type} lookup needs the npm package "${name}", which ${why}` };
    }
  };
}
