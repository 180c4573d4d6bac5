import 'vitest';
import type { TestProject } from 'vitest/node';
import { serverForRun } from './postgres.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string;
  }
}

/** Importing this type brings the declaration above along. */
export type PostgresUrl = string;

/** vitest `globalSetup`: starts the run's PostgreSQL and provides its address as `postgresUrl`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await serverForRun();
  project.provide('postgresUrl', server.url);
  return () => server.close();
}
