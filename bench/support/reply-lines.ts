/** Feeds socket text to `onReply`, once per complete reply: its code and its last line. */
export function replyLines(onReply: (code: number, line: string) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk;
    let begin = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', begin)) {
      if (rest[begin + 3] !== '-')
        onReply(Number(rest.slice(begin, begin + 3)), rest.slice(begin, end).trimEnd());
      begin = end + 1;
    }
    rest = rest.slice(begin);
  };
}
