import type { HostFacts, HypervisorKind } from '@offshoot/clone-core/contract';
import type { ObservedGuest } from '@offshoot/clone-core/driver';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { Db } from './client.ts';
const later = (): Promise<never> => Promise.reject(new OffshootError('internal', { publicMessage: 'Not built yet.' }));
export interface HostRegistration { id: string; name: string; kind: HypervisorKind; simulated: boolean; workerVersion: string }
export const registerHost = (_db: Db, _host: HostRegistration): Promise<void> => later();
export const reportHost = (_db: Db, _hostId: string, _report: { facts?: HostFacts; problem?: string | null }): Promise<void> => later();
export const syncGuests = (_db: Db, _hostId: string, _guests: readonly ObservedGuest[], _options?: { since?: Date }): Promise<void> => later();
