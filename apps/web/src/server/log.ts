import pino from 'pino';

/** The web's log: JSON lines on standard error, for the operator. */
export const log = pino({ name: 'web', level: process.env['LOG_LEVEL'] ?? 'info' }, pino.destination(2));
