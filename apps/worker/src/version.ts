import manifest from '../package.json' with { type: 'json' };

/** Version of this worker, as reported to the Hosts page. */
export const version: string = manifest.version;
