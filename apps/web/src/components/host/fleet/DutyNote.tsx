import { Text } from '@mantine/core';
import type { HostView } from '../../../server/views/host.ts';

/** Why a host gets no work; nothing for one that serves. */
export function DutyNote({ host }: { host: Pick<HostView, 'duty'> }) {
  if (host.duty === 'serving') return null;
  return (
    <Text size="sm">
      {host.duty === 'draining'
        ? 'Drained: it takes no new work, and finishes what it was asked for.'
        : 'In maintenance: it takes no new work and begins none.'}
    </Text>
  );
}

/** A host that a worker elsewhere serves. */
export function Reached({ via }: { via: NonNullable<HostView['via']> }) {
  return (
    <>
      over SSH, {via.target}
      <br />
      <Text span size="xs" c="dimmed">
        pinned host key <span className="mono">{via.hostKey}</span>
      </Text>
    </>
  );
}

/** "0.1.0", and what is to know about it. */
export function workerVersionWords(host: Pick<HostView, 'workerVersion' | 'otherVersion'>): string {
  if (host.workerVersion === null) return 'unknown version';
  return host.otherVersion
    ? `${host.workerVersion}, another than the portal’s; it is served`
    : host.workerVersion;
}
