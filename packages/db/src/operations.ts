import type { CloneRequest, ImportRequest, OperationState } from '@offshoot/clone-core/contract';
import type { Db } from './client.ts';
import { OffshootError } from '@offshoot/clone-core/errors';
import type { BatchResult, CaptureTemplate } from './types.ts';
const later = (): Promise<never> => Promise.reject(new OffshootError('internal', { publicMessage: 'Not built yet.' }));
export interface Asked { userId: string | null; idempotencyKey: string }
export const requestClone = (_db: Db, _ask: Asked & { request: CloneRequest; agreedFingerprint?: string }): Promise<BatchResult> => later();
export const requestImport = (_db: Db, _ask: Asked & { request: ImportRequest }): Promise<BatchResult> => later();
export const requestCapture = (_db: Db, _ask: Asked & { guestId: string; template?: CaptureTemplate }): Promise<BatchResult> => later();
export const requestStart = (_db: Db, _ask: Asked & { guestId: string; waitForAgent: boolean }): Promise<BatchResult> => later();
export const requestStop = (_db: Db, _ask: Asked & { guestId: string; force: boolean }): Promise<BatchResult> => later();
export const requestDelete = (_db: Db, _ask: Asked & { guestId: string }): Promise<BatchResult> => later();
export const requestRemoveBase = (_db: Db, _ask: Asked & { baseId: string }): Promise<BatchResult> => later();
export const requestCancel = (_db: Db, _operationId: string): Promise<{ state: OperationState }> => later();
export const requestRetry = (_db: Db, _ask: Asked & { operationId: string }): Promise<BatchResult> => later();
