/**
 * Private options of the queryprogram router (Exim manual, "The queryprogram router").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const queryprogramOptions = {
  command: { type: 'string', default: undefined, expand: true, status: { refused: 'driver' } },
  command_group: { type: 'group', default: undefined, expand: true, status: { refused: 'driver' } },
  command_user: { type: 'user', default: undefined, expand: true, status: { refused: 'driver' } },
  current_directory: { type: 'string', default: '/', status: { refused: 'driver' } },
  timeout: { type: 'time', default: '1h', status: { refused: 'driver' } },
} as const;
