/** What the program calls itself: the version in package.json, which a test holds against this line. */
export const version = '0.1.0';
export const programName: string = `Mailchute ${version}`;
