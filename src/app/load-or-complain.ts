import { formatWithSource } from '../config/format.ts';
import { loadProgram, type Program } from './program.ts';

/** Loads a configuration; with errors in it, tells all of them and gives undefined. Warnings and notes are left to `mailchute check`. */
export function loadOrComplain(
  file: string,
  defines: ReadonlyMap<string, string>,
  print: (line: string) => void,
): Program | undefined {
  const { program, diagnostics, sources } = loadProgram(file, defines);
  for (const d of diagnostics) if (d.severity === 'error') print(formatWithSource(d, sources));
  return program;
}
