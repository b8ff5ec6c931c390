/** A value that is there at once where nothing has to be waited for. */
export type Awaitable<T> = T | Promise<T>;
