/** Plans of the libvirt driver. Pure: the same request, facts and ids give the same plan. */
import type { IdSource, OperationRequest, Plan } from '../../driver.ts';
import { asDefined } from './generations.ts';
import { planCapture, planImport, planRemoveBase } from './plan-base.ts';
import { planClone } from './plan-clone.ts';
import { planMemoryClone } from './plan-memory.ts';
import { finishDraft, type Draft } from './plan-parts.ts';
import { planRefresh, planRestore } from './plan-refresh.ts';
import { planDelete, planStart, planStop } from './plan-power.ts';
import { planSnapshots } from './plan-snapshots.ts';
import { planExport } from './plan-export.ts';
import { planMove } from './plan-move.ts';
import { planTransfer } from './plan-transfer.ts';
import { planVerify } from './plan-verify.ts';
import { planPromote } from './plan-promote.ts';
import { planReset } from './plan-reset.ts';
import type { LibvirtFacts, LibvirtStep } from './types.ts';

export function plan(request: OperationRequest, facts: LibvirtFacts, ids: IdSource): Plan<LibvirtStep> {
  return finishDraft(request.kind, draftOf(asTheHostHasIt(request, facts), facts, ids));
}

/** The definition says which of its states a clone has, not the row. */
function asTheHostHasIt(request: OperationRequest, { clone }: LibvirtFacts): OperationRequest {
  if (!clone || !(request.kind === 'refresh' || request.kind === 'restore' || request.kind === 'promote'))
    return request;
  const generations = asDefined(request.generations, clone.active);
  if (generations) return { ...request, generations };
  if (request.kind !== 'refresh') return request;
  const { generations: _rows, ...flat } = request;
  return flat;
}

function draftOf(request: OperationRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  switch (request.kind) {
    case 'clone':
      return request.mode === 'memory'
        ? planMemoryClone(request, facts, ids)
        : planClone(request, facts, ids);
    case 'capture':
      return planCapture(request, facts, ids);
    case 'import':
      return planImport(request, facts, ids);
    case 'start':
      return planStart(request, facts);
    case 'stop':
      return planStop(request, facts);
    case 'delete':
      return planDelete(request, facts);
    case 'verify':
      return planVerify(request, facts, ids);
    case 'promote':
      return planPromote(request, facts, ids);
    case 'reset':
      return planReset(request, facts, ids);
    case 'refresh':
      return planRefresh(request, facts, ids);
    case 'restore':
      return planRestore(request, facts);
    case 'snapshot':
    case 'revert':
    case 'remove-snapshot':
      return planSnapshots(request, facts, ids);
    case 'export':
      return planExport(request, facts, ids);
    case 'migrate':
      return planMove(request, facts, ids);
    case 'transfer':
      return planTransfer(request, facts, ids);
    default:
      return planRemoveBase(request, facts);
  }
}
