/**
 * Operations: asked for by the web, performed by a worker. Every state change is one conditional UPDATE with its event
 * in the same transaction; nothing outside this package writes them.
 */
export type { Asked } from './ask.ts';
export type { AskedOfGuest } from './guest-requests.ts';
export { requestClone } from './clone-request.ts';
export {
  requestCapture,
  requestDelete,
  requestImport,
  requestPromote,
  requestRemoveBase,
  requestReset,
  requestSnapshot,
  requestStart,
  requestStop,
  requestVerify,
} from './guest-requests.ts';
export { refreshRequest, releaseState, requestRefresh, requestRestore } from './refresh-request.ts';
export { mayArrive } from './arriving.ts';
export { refuseQuestion, requestOf } from './question.ts';
export { exporterOf, requestExport } from './export-request.ts';
export { requestMove } from './move-request.ts';
export { healCopies, requestTransfer, transferFor } from './transfer.ts';
export { requestCancel, requestRetry } from './cancel.ts';
export { collectUnusedBases, inNoPlan } from './collect.ts';
export { claim, markStale, savePlan, viewOf, CLAIM_EXPIRES_SECONDS, type Claim } from './claims.ts';
export { giveBack, heartbeat, listRunnable, watchCancels, type HeldOperation } from './keeping.ts';
export { finish } from './finish.ts';
export { baseOf, guestOnBase, resolveRequest, resolveSource } from './resolve.ts';
export { newId } from './transaction.ts';
