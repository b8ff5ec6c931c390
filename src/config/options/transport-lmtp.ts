/**
 * Private options of the lmtp transport (Exim manual, "The lmtp transport").
 * Types and defaults are those of Exim 4.96 (`exim -bP`); see table.ts for what the columns mean.
 */
export const lmtpOptions = {
  batch_id: { type: 'string', default: undefined, expand: true, status: { refused: 'transport' } },
  batch_max: { type: 'integer', default: '1', status: 'works' },
  command: { type: 'string', default: undefined, expand: true, atStart: true, status: 'works' },
  ignore_quota: { type: 'boolean', default: false, status: 'works' },
  socket: { type: 'string', default: undefined, expand: true, atStart: true, status: 'works' },
  timeout: { type: 'time', default: '5m', status: 'works' },
} as const;
