// How the main logs of two edges are made comparable, and where ours is meant to differ from Exim's.

/** Rewrites lines of one log into the other's form; undefined where the other has no such line. */
export interface LogDifference {
  readonly name: string;
  readonly reason: string;
  readonly log: 'exim' | 'ours';
  rewrite(line: string): string | undefined;
}

const drop =
  (pattern: RegExp): LogDifference['rewrite'] =>
  (line) =>
    pattern.test(line) ? undefined : line;

const replace =
  (pattern: RegExp, by: string): LogDifference['rewrite'] =>
  (line) =>
    line.replace(pattern, by);

/** Octets by which our default Received field is longer. */
function receivedGrowth(ourProgram: string, eximVersion: string): number {
  return ourProgram.length - `Exim ${eximVersion}`.length;
}

export function logDifferences(ourProgram: string, eximVersion: string): readonly LogDifference[] {
  const growth = receivedGrowth(ourProgram, eximVersion);
  return [
    {
      name: 'K',
      reason: 'our outcomes do not tell whether the content went by BDAT',
      log: 'exim',
      rewrite: replace(/\] K C="/, '] C="'),
    },
    {
      name: 'BDAT in an error',
      reason: 'as K: we name the command of RFC 2033, whichever carried the content',
      log: 'exim',
      rewrite: replace(/LMTP error after BDAT \d+ LAST:/, 'LMTP error after DATA:'),
    },
    {
      name: 'the number of a 4xx after the content',
      reason: 'Exim forgets its own number for it (-46, "data_4xx") in LMTP',
      log: 'exim',
      rewrite: replace(/defer \(0\)(?=.* LMTP error after DATA: 4)/, 'defer (-46)'),
    },
    {
      name: 'the number of a socket that is not there',
      reason: 'we tell the error of the system (2, ENOENT), as Exim does for TCP',
      log: 'exim',
      rewrite: replace(/defer \(-1\)(?=: Failed to connect to socket .*: No such file)/, 'defer (2)'),
    },
    {
      name: 'a line for each host that refused',
      reason: 'the host stands in the == line; eximstats takes the line of its own for a rejection',
      log: 'exim',
      rewrite: drop(/ H=\S+ \[\S+\] Connection refused$/),
    },
    {
      name: 'the host that refused in the == line',
      reason: 'as above',
      log: 'ours',
      rewrite: replace(/(defer \(111\)) H=\S+ \[\S+\](?=: Connection refused$)/, '$1'),
    },
    {
      name: 'letter case of a local part',
      reason: 'an address is logged as it was given; what a router lower-cases is its own affair',
      log: 'exim',
      rewrite: replace(/ \S+@\S+ <([A-Z]\S*@\S+)> R=/i, ' $1 R='),
    },
    {
      name: 'U= of a bounce',
      reason: 'bounces are made by the daemon and not handed in by a local user',
      log: 'exim',
      rewrite: replace(/ U=Debian-exim P=local/, ' P=local'),
    },
    {
      name: "the size of a bounce in Exim's log",
      reason: 'bounces have other words here',
      log: 'exim',
      rewrite: replace(/( P=local) S=\d+$/, '$1 S=n'),
    },
    {
      name: 'the size of a bounce in our log',
      reason: 'as above',
      log: 'ours',
      rewrite: replace(/( P=local) S=\d+$/, '$1 S=n'),
    },
    {
      name: 'the size of a message',
      reason: 'the Received field has our name in it',
      log: 'ours',
      rewrite: (line) => line.replace(/ S=(\d+)(?= id=)/, (_, size: string) => ` S=${Number(size) - growth}`),
    },
    {
      name: 'transactions of one connection in the session ids of the store',
      reason: 'we keep connections for messages to come; Exim opens one for each',
      log: 'ours',
      rewrite: replace(/(?<=SESSION):T\d+/, ''),
    },
  ];
}

/** What depends on the moments at which queue runs come, which nobody can make the same. Our daemon's runs say nothing themselves. */
const ofQueueRuns =
  / (?:Start|End) queue run: pid=| Message is frozen$| == .*: [Rr]etry time not (?:yet )?reached| Spool file for .* is locked /;

/**
 * The lines of one step without what changes from run to run: stamps, ids of messages (by order of appearance) and
 * sessions. Messages follow each other in the order of their first lines, and an attempt that was repeated counts once.
 */
export function normalised(
  lines: readonly string[],
  log: LogDifference['log'],
  differences: readonly LogDifference[],
  used: Set<string>,
): string[] {
  const ids: string[] = [];
  const kept = lines.flatMap((stamped) => {
    if (ofQueueRuns.test(stamped)) return [];
    let line: string | undefined = stamped
      .replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /, '')
      .replace(/(C="250 2\.0\.0 <\S+>) [\w-]{22}/, '$1 SESSION')
      .replace(/\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]/, '[TIME]');
    for (const difference of differences) {
      if (difference.log !== log) continue;
      const rewritten = difference.rewrite(line);
      if (rewritten !== line) used.add(difference.name);
      line = rewritten;
      if (line === undefined) return [];
    }
    return [
      line.replace(/\b\w{6}-\w{6}-\w\w\b/g, (id) => {
        if (!ids.includes(id)) ids.push(id);
        return `MESSAGE${ids.indexOf(id)}`;
      }),
    ];
  });
  const byMessage = Map.groupBy(kept, (line) => /^MESSAGE\d+/.exec(line)?.[0] ?? '').values();
  return [...byMessage].flatMap((group) => group.filter((line, i) => line !== group[i - 1]));
}
