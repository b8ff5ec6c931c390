/** `${certextract{field}{$variable}{yes}{no}}` (Exim manual, "Expansion items"). */
import { certificateField, isCertificateVariable } from '../certificate.ts';
import { aside, type ItemRow } from '../evaluator.ts';
import { error } from '../outcome.ts';
import { findVariable } from '../variables.ts';
import { compileGroup, groupOr } from './helpers.ts';

export const certextract: ItemRow = {
  parse(p, name) {
    const field = groupOr(p, `missing '{' for field arg of ${name}`);
    if (field === undefined) return undefined;
    p.skipSpace();
    if (!p.take('{')) return p.fail(`missing '{' for cert variable arg of ${name}`);
    p.skipSpace();
    if (!p.take('$')) return p.fail(`second argument of "${name}" must be a certificate variable`);
    // The variable is named, not expanded: everything up to the brace is its name.
    const end = p.source.indexOf('}', p.position);
    const variable = p.source.slice(p.position, end < 0 ? p.source.length : end);
    if (typeof findVariable(variable) === 'string') return p.fail(`no variable named "${variable}"`);
    if (!isCertificateVariable(variable)) return p.fail(`"${variable}" is not a certificate`);
    p.position += variable.length;
    if (!p.take('}')) return p.fail("missing '}' closing cert variable arg of certextract");
    const branches = p.branches(name);
    return branches && { groups: [field], word: variable, branches };
  },
  compile(parts, compiler, name) {
    const field = compileGroup(parts, 0, compiler);
    const branches = compiler.branches(name, parts.branches);
    const variable = parts.word ?? '';
    return (frame) =>
      aside(field, frame, (selector) => {
        const der = frame.scope.certificates?.get(variable);
        if (der === undefined) return branches.no(frame);
        const found = certificateField(selector, der);
        if (typeof found === 'object') return error(found.reason);
        // The other side chose what its certificate says.
        return found === undefined
          ? branches.no(frame)
          : branches.yes(frame, found, variable.endsWith('peercert'));
      });
  },
};
