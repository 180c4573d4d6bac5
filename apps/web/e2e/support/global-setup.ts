import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from '@playwright/test';
import { startLibvirt } from '@offshoot/tools/libvirt';
import { startStack, type StackFacts } from './stack.ts';

/** Starts the stack once for the run and signs in; returns what stops it again. */
export default async function globalSetup(): Promise<() => Promise<void>> {
  const say = (line: string): void => void process.stderr.write(`  ${line}\n`);
  const logs = await mkdtemp(join(tmpdir(), 'offshoot-e2e-logs-'));
  // Started before the portal, so that it outlives it: guests are removed when the portal has stopped.
  const libvirt = await startLibvirt({ isRoot: process.getuid?.() === 0, logs, say });
  const stop = async (): Promise<void> => {
    await libvirt.restore();
    for (const service of libvirt.services) await service.stop();
    await rm(logs, { recursive: true, force: true });
  };
  try {
    const { close, ...facts } = await startStack(say);
    const session = join(logs, 'session.json');
    await signIn(facts, session).catch(async (error: unknown) => {
      await close();
      throw error;
    });
    process.env['OFFSHOOT_E2E'] = JSON.stringify({ ...facts, session });
    return async () => {
      await close();
      await stop();
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function signIn(facts: StackFacts, file: string): Promise<void> {
  const context = await request.newContext({ baseURL: facts.url });
  const answer = await context.post('/api/auth/sign-in/email', {
    headers: { origin: facts.url },
    data: { email: facts.email, password: facts.password },
  });
  if (!answer.ok()) throw new Error(`Sign-in answered ${answer.status()}: ${await answer.text()}`);
  await context.storageState({ path: file });
  await context.dispose();
}
