import type { TestContext } from 'node:test';

/**
 * Disposes of a resource when the test ends. In place of `await using`, which the parser behind the import checks
 * does not read.
 */
export function disposed<R extends AsyncDisposable>(t: TestContext, resource: R): R {
  t.after(() => resource[Symbol.asyncDispose]());
  return resource;
}
