/** `${readsocket{name}{request}{options}{newline}{failure}}` (Exim manual, "Expansion items"). */
import { readList } from '../../mail/list-text.ts';
import { parseTimeInterval, timerMs } from '../../mail/time-interval.ts';
import type { Ast } from '../ast.ts';
import { aside, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { recall, remember } from '../memory.ts';
import { error, maxTextOctets, type Result } from '../outcome.ts';
import { askSocket, type SocketAnswer, type SocketRequest } from '../socket.ts';
import { taintedNameReason } from '../taint.ts';
import { compileGroup } from './helpers.ts';

const defaultTimeoutMs = 5000;

/** The first item is the timeout, the others are `name=value`; what Exim does not know it passes over. */
function requestOf(
  name: string,
  request: string,
  options: string,
): SocketRequest & { readonly cache: boolean } {
  const [time = '', ...rest] = readList(options).items;
  const ms = parseTimeInterval(/^\d+$/.test(time) ? `${time}s` : time);
  const value = (option: string): string | undefined =>
    rest.find((item) => item.startsWith(`${option}=`))?.slice(option.length + 1);
  return {
    name,
    request,
    timeoutMs: ms === undefined || ms === 0 ? defaultTimeoutMs : timerMs(ms),
    shutdown: value('shutdown') !== 'no',
    tls: value('tls') === 'yes',
    cache: value('cache') === 'yes',
    maxOctets: maxTextOctets,
  };
}

function ask(q: ReturnType<typeof requestOf>, frame: Frame): SocketAnswer | Promise<SocketAnswer> {
  const key = `readsocket ${q.name}`;
  const stored = recall(frame.scope, key)?.text;
  // One answer a connection is kept, with the request that it belongs to.
  const mark = `${q.request.length}:${q.request}`;
  if (q.cache && stored?.startsWith(mark) === true) return { text: stored.slice(mark.length) };
  return askSocket(q).then((answer) => {
    const text = 'text' in answer && q.cache ? { text: mark + answer.text, tainted: false } : undefined;
    remember(frame.scope, key, text);
    return answer;
  });
}

export const readsocket: ItemRow = {
  parse(p, name) {
    const groups: Ast[] = [];
    p.skipSpace();
    while (groups.length < 5 && p.at('{')) {
      const group = p.group();
      if (group === undefined) return undefined;
      groups.push(group);
      p.skipSpace();
    }
    if (groups.length < 2) return p.fail(`Not enough arguments for '${name}' (min is 2)`);
    return p.take('}') ? { groups } : p.fail(`missing '}' closing ${name}`);
  },
  compile(parts, compiler) {
    const at = (i: number): Evaluator => compileGroup(parts, i, compiler);
    const [name, request, options, newline] = [at(0), at(1), at(2), at(3)];
    const failure = parts.groups[4] === undefined ? undefined : at(4);
    return (frame) =>
      aside(name, frame, (nameText, tainted) => {
        if (tainted) return error(taintedNameReason('name for readsocket', nameText, parts.groups[0]));
        return aside(request, frame, (requestText) =>
          aside(options, frame, (optionText) =>
            aside(newline, frame, (newlineText): Result<string> => {
              const take = (answer: SocketAnswer): Result<string> => {
                if ('reason' in answer) return failure === undefined ? error(answer.reason) : failure(frame);
                return parts.groups[3] === undefined || newlineText === ''
                  ? answer.text
                  : answer.text.replaceAll('\n', newlineText);
              };
              const answer = ask(requestOf(nameText, requestText, optionText), frame);
              return answer instanceof Promise ? answer.then(take) : take(answer);
            }),
          ),
        );
      });
  },
};
