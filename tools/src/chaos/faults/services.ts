/** Services that go away and come back. */
import { atMoment, type Fault } from './fault.ts';

const libvirt: Fault = {
  kind: 'libvirt-restarted',
  weight: 2,
  unavailable: ({ services }) =>
    services.ownLibvirt ? undefined : 'libvirt ran already, so it is not this run’s to restart',
  excuses: ['host-unreachable', 'command-failed', 'agent-silent', 'timeout'],
  inflict: atMoment(async (world, random) => {
    const how = random.pick(['TERM', 'KILL'] as const);
    await world.services.restartLibvirt(how);
    return how;
  }),
};

const postgres: Fault = {
  kind: 'postgres-restarted',
  weight: 3,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const how = random.pick(['fast', 'immediate'] as const);
    await world.services.restartPostgres(how);
    return how;
  }),
};

const redis: Fault = {
  kind: 'redis-restarted',
  weight: 2,
  excuses: [],
  inflict: atMoment(async (world, random) => {
    const data = random.pick(['kept', 'lost'] as const);
    await world.services.restartRedis(data);
    return data === 'kept' ? 'with its data' : 'without its data';
  }),
};

const flushed: Fault = {
  kind: 'redis-flushed',
  weight: 1,
  excuses: [],
  inflict: atMoment(async (world) => {
    await world.services.flushRedis();
    return 'FLUSHALL';
  }),
};

export const serviceFaults: readonly Fault[] = [libvirt, postgres, redis, flushed];
