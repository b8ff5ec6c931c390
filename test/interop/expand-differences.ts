// The differences between `exim4 -be` and Mailchute that are meant to be, by line of expansions.txt, with the reason.
const early = 'Mailchute reads the whole text first: a malformed text is refused before anything is evaluated';

export const accepted: ReadonlyMap<string, string> = new Map([
  ['${if eq{a}{b}{c}fail', early],
]);
