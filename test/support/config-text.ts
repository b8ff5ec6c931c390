// Configurations from texts.
import { formatDiagnostic } from '../../src/mail/diagnostic.ts';
import { readConfig, type ReadResult } from '../../src/config/read.ts';

/** Reads a configuration whose main file is called `/c`; other files by their absolute names. */
export function readText(
  text: string,
  files: Readonly<Record<string, string>> = {},
  defines: Readonly<Record<string, string>> = {},
): ReadResult {
  const all: Readonly<Record<string, string>> = { ...files, '/c': text };
  return readConfig('/c', {
    defines: new Map(Object.entries(defines)),
    readFile(path) {
      const content = all[path];
      if (content === undefined)
        throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });
      return content;
    },
  });
}

/** Errors and warnings of a text as `line: message`, or `file:line: message` for included files; notes are left out. */
export function complaints(...args: Parameters<typeof readText>): string[] {
  return readText(...args)
    .diagnostics.filter((d) => d.severity !== 'note')
    .map((d) => formatDiagnostic(d).replace(/^\/c:/, ''));
}
