/** Applies the migrations that are missing, then ends. Needs DATABASE_URL. */
import { migrate } from '@offshoot/db/migrate';

const applied = await migrate(process.env['DATABASE_URL'] ?? '');
console.log(applied.length === 0 ? 'The database is up to date.' : `Applied ${applied.join(', ')}.`);
