// `npm run docs`: writes the generated parts of the documents anew.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { withGeneratedParts } from './exim-compatibility.ts';

const file = path.resolve(import.meta.dirname, '../../docs/exim-compatibility.md');
writeFileSync(file, withGeneratedParts(readFileSync(file, 'utf8')));
