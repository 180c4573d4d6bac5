/**
 * No Docker engine runs in these tests: the file is held against the Compose Specification's schema and our own rules.
 * fixtures/compose-spec.json is the Compose Specification's schema as docker-compose 1.29.2 shipped it (Copyright Docker
 * Inc, Apache-2.0).
 */
import { Ajv2019 } from 'ajv/dist/2019.js';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

const root = join(import.meta.dirname, '../../..');
const text = await readFile(join(root, 'docker-compose.yml'), 'utf8');
const parsed: unknown = parse(text, { merge: true });
const schema = z.object({
  services: z.record(
    z.string(),
    z.looseObject({
      environment: z.record(z.string(), z.string()).optional(),
      healthcheck: z.object({}).optional(),
      restart: z.string(),
      ports: z.array(z.string()).optional(),
      volumes: z.array(z.string()).optional(),
      command: z.array(z.string()).optional(),
      depends_on: z.record(z.string(), z.object({ condition: z.string() })).optional(),
      build: z.object({ dockerfile: z.string(), target: z.string() }).optional(),
    }),
  ),
});
const { services } = schema.parse(parsed);
/** Services that end when their work is done. */
const oneShot = Object.keys(services).filter((name) => services[name]?.restart === 'no');

/** Formats that the specification names and Docker defines. */
const dockerFormats = {
  ports: true,
  expose: true,
  duration: true,
  subnet_ip_address: true,
  uri: true,
} as const;

describe('docker-compose.yml', () => {
  it('is valid by the Compose Specification', async () => {
    const specification = await readFile(join(import.meta.dirname, '../fixtures/compose-spec.json'), 'utf8');
    const ajv = new Ajv2019({ strict: false, formats: dockerFormats });
    // It names its draft and its parts in an older way than the validator reads.
    const rules: unknown = JSON.parse(specification, (key, value: unknown) =>
      typeof value === 'string' && (key === 'id' || key === '$schema') ? undefined : value,
    );
    const validate = ajv.compile(z.looseObject({}).parse(rules));
    // The specification has the project's `name` since 2022; this schema is of 2021.
    const { name: _name, ...rest } = z.looseObject({ name: z.literal('offshoot') }).parse(parsed);
    expect(validate(rest), JSON.stringify(validate.errors)).toBe(true);
  });

  it('has the services of an installation', () => {
    expect(Object.keys(services).toSorted()).toEqual([
      'login-link',
      'migrate',
      'postgres',
      'redis',
      'web',
      'worker',
    ]);
    expect(oneShot).toEqual(['migrate', 'login-link']);
  });

  it.each(Object.keys(services).filter((name) => !oneShot.includes(name)))(
    '%s is watched and comes back',
    (name) => {
      expect(services[name]?.healthcheck).toBeDefined();
      expect(services[name]?.restart).toBe('unless-stopped');
    },
  );

  it('opens no port but the web’s, on loopback unless told otherwise', () => {
    const open = Object.entries(services).flatMap(([name, { ports }]) =>
      (ports ?? []).map((port) => `${name} ${port}`),
    );
    expect(open).toEqual(['web ${OFFSHOOT_LISTEN:-127.0.0.1}:${OFFSHOOT_PORT:-3000}:3000']);
  });

  it('holds no secret and no default for one', () => {
    const secrets = [...text.matchAll(/\$\{([A-Z_]*(?:PASSWORD|SECRET|_KEY)[A-Z_]*)([^}]*)\}/g)];
    expect(secrets.length).toBeGreaterThan(5);
    for (const [whole, , rest] of secrets) expect(rest, whole).toMatch(/^:\?set /);
    for (const { environment } of Object.values(services)) {
      for (const [name, value] of Object.entries(environment ?? {})) {
        if (/PASSWORD|SECRET|AUTH|_KEY$|_URL$/.test(name)) expect(value, name).toMatch(/\$\{[A-Z_]+:\?/);
      }
    }
  });

  it('keeps Redis from forgetting jobs', () => {
    expect(services['redis']?.command?.join(' ')).toContain(
      '--appendonly yes --maxmemory-policy noeviction --requirepass',
    );
  });

  it('starts web and worker only on a migrated database', () => {
    for (const name of ['web', 'worker']) {
      expect(services[name]?.depends_on).toMatchObject({
        migrate: { condition: 'service_completed_successfully' },
      });
    }
  });

  it('mounts the host’s folders into the worker at the same path', () => {
    for (const volume of services['worker']?.volumes ?? []) {
      const plain = volume.replaceAll(/\$\{([A-Z_]+)[^}]*\}/g, '<$1>');
      const [outside, inside] = plain.split(':');
      expect(inside, volume).toBe(outside);
    }
  });

  it('explains every variable that must be set in .env.example', async () => {
    const example = await readFile(join(root, '.env.example'), 'utf8');
    for (const [, name] of text.matchAll(/\$\{([A-Z_]+)/g))
      expect(example).toMatch(new RegExp(`^#?${name}=`, 'm'));
  });

  it('builds targets that the Dockerfile has', async () => {
    const dockerfile = await readFile(join(root, 'docker/Dockerfile'), 'utf8');
    for (const { build } of Object.values(services)) {
      if (build) expect(dockerfile).toMatch(new RegExp(`^FROM .* AS ${build.target}$`, 'm'));
    }
    for (const [, from] of dockerfile.matchAll(/^COPY (?:[^ ]+ )*?([^ ]+) [^ ]+$/gm))
      expect(existsSync(join(root, from ?? '')), from).toBe(true);
  });
});
