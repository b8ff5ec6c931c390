import { hintsContract } from '../contract.ts';
import { openLmdbHints } from './lmdb.ts';

const module = new URL('./lmdb.ts', import.meta.url).href;

hintsContract({
  open: (directory, maxRecords) =>
    openLmdbHints({ directory, ...(maxRecords !== undefined && { maxRecords }) }),
  openSource: (directory) =>
    `(await import(${JSON.stringify(module)})).openLmdbHints({ directory: ${JSON.stringify(directory)} })`,
});
