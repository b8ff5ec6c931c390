/** `.ifdef` and its relatives (Exim manual, "Conditional skips in the configuration file"). */
import type { SourcePosition, SourceText } from '../mail/diagnostic.ts';
import type { Report } from './report.ts';

export interface Conditions {
  /** Takes a directive of this family; false for any other word. `found`: a macro occurred in the line. */
  take(directive: string, line: SourceText, found: boolean): boolean;
  /** True where lines are to be passed over. */
  skipping(): boolean;
  /** At the end of the main file. */
  end(): void;
}

interface Level {
  readonly directive: string;
  readonly position: SourcePosition;
  /** `done`: an earlier branch was taken, or all of this stands in a part that is passed over. */
  state: 'taken' | 'open' | 'done';
  sawElse: boolean;
}

const opening = ['ifdef', 'ifndef'];
const branching = ['elifdef', 'elifndef', 'else'];

export function createConditions(report: Report): Conditions {
  const levels: Level[] = [];
  const skipping = (): boolean => levels.length > 0 && levels.at(-1)?.state !== 'taken';
  return {
    skipping,

    take(directive, line, found) {
      if (opening.includes(directive)) {
        const taken = found === (directive === 'ifdef');
        const state = skipping() ? 'done' : taken ? 'taken' : 'open';
        levels.push({ directive, position: line.position, state, sawElse: false });
        return true;
      }
      if (directive !== 'endif' && !branching.includes(directive)) {
        const near = [...opening, ...branching, 'endif'].find((d) => directive.startsWith(d));
        if (near === undefined) return false;
        report.error(line.position, `white space expected after ".${near}"`);
        return true;
      }
      const level = levels.at(-1);
      if (level === undefined) {
        report.error(line.position, `.${directive} without matching .ifdef`);
        return true;
      }
      if (directive === 'endif') {
        levels.pop();
        return true;
      }
      if (level.sawElse) report.warning(line.position, `.${directive} after .else is never used`);
      if (directive === 'else') level.sawElse = true;
      if (level.state === 'taken') level.state = 'done';
      else if (level.state === 'open' && (directive === 'else' || found === (directive === 'elifdef')))
        level.state = 'taken';
      return true;
    },

    end() {
      for (const level of levels)
        report.error(
          level.position,
          'Unexpected end of configuration file: .endif missing',
          `for this .${level.directive}`,
        );
      levels.length = 0;
    },
  };
}
