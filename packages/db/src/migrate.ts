/** Applies prisma/migrations in order, as `prisma migrate deploy` does. Returns the names applied. */
export function migrate(_url: string): Promise<string[]> {
  return Promise.reject(new Error('not yet'));
}
