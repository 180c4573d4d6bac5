/** The libvirt driver: everything through `virsh -c URI`, `qemu-img` and coreutils, over the shell. */
import type { Driver } from '../../driver.ts';
import type { Shell } from '../../shell/shell.ts';
import type { DriverConfig } from '../registry.ts';
import { capabilities } from './capabilities.ts';
import { definitions } from './definitions.ts';
import { CHAIN_BUDGET } from './generations.ts';
import { drift } from './drift.ts';
import { hostReader } from './host.ts';
import { inspector, type Reader } from './inspect.ts';
import { receiveGuest } from './moving/reception.ts';
import { lister } from './inventory.ts';
import { plan } from './plan.ts';
import { backupStep } from './steps/backup.ts';
import { compareStep } from './steps/compare.ts';
import { copyDiskStep, copyFileStep, copyTpmStep } from './steps/copy.ts';
import { defineStep, undefineStep } from './steps/define.ts';
import { fetchBaseStep } from './steps/fetch-base.ts';
import { leftovers } from './leftovers.ts';
import { attestStep } from './steps/attest.ts';
import { carryInsideStep } from './steps/carry-inside.ts';
import { dropSeedStep, writeSeedStep } from './steps/seed.ts';
import { editInsideStep } from './steps/edit-inside.ts';
import { insides } from './inside-facts.ts';
import { askIdentity } from './guest-identity.ts';
import { memoryPointStep } from './steps/memory-point.ts';
import { dropUnpackedStep, exportDiskStep, finishExportStep, unpackOvaStep } from './steps/export.ts';
import { migrateLiveStep } from './steps/migrate-live.ts';
import { defineThereStep, receiveGuestStep } from './steps/move.ts';
import { overlayStep } from './steps/overlays.ts';
import { startStep, stopStep } from './steps/power.ts';
import { beginRecordStep, fillLayersStep, ownLayersStep } from './steps/layers.ts';
import { redefineStep, standOnStep } from './steps/redefine.ts';
import { settleStep } from './steps/settle.ts';
import { pullStep } from './steps/pull.ts';
import { removeBaseStep, removeFilesStep } from './steps/removal.ts';
import { rejoinStep } from './steps/rejoin.ts';
import { resumeMemoryStep } from './steps/resume-memory.ts';
import { sealStep } from './steps/seal.ts';
import { dropSnapshotStep, revertStep, takeSnapshotStep } from './steps/snapshots.ts';
import { discardKeptStep, swapFilesStep } from './steps/swap.ts';
import { turns } from './steps/turns.ts';
import type { LibvirtFacts, LibvirtStep } from './types.ts';
import { Virsh } from './virsh.ts';
import { watch } from './watch.ts';

/** The driver of one libvirt host. Holds no connection open; `accelerator` unset means software emulation. */
export function libvirtDriver(config: DriverConfig, shell: Shell): Driver<LibvirtStep, LibvirtFacts> {
  const virsh = new Virsh(shell, config.uri ?? 'qemu:///system');
  const known = definitions(virsh);
  const accelerator = config.accelerator ?? 'tcg';
  const host = hostReader(shell, virsh, { store: config.store, accelerator });
  const jobs = turns();
  const { store, peers, chainBudget = CHAIN_BUDGET } = config;
  const reader: Reader = {
    shell,
    virsh,
    host,
    definitions: known,
    store,
    accelerator,
    insides: insides(shell, virsh, store),
    chainBudget,
    ...(peers ? { peers } : {}),
    ...(config.importFolders === undefined ? {} : { importFolders: config.importFolders }),
  };
  return {
    info: { kind: 'libvirt', simulated: false, capabilities },
    inspect: inspector(reader),
    plan,
    steps: {
      define: defineStep(virsh, known),
      'copy-disk': copyDiskStep(shell, virsh, host),
      'backup-disks': backupStep(shell, virsh, jobs),
      'memory-point': memoryPointStep(virsh, known),
      'rejoin-disks': rejoinStep(virsh, known),
      'resume-memory': resumeMemoryStep(shell, virsh),
      attest: attestStep(reader),
      'write-seed': writeSeedStep(shell, config.openSecret),
      'drop-seed': dropSeedStep(reader),
      'edit-inside': editInsideStep(shell),
      'carry-inside': carryInsideStep(shell, config.store),
      'create-overlays': overlayStep(shell),
      'copy-file': copyFileStep(shell),
      'copy-tpm': copyTpmStep(shell, virsh),
      'seal-base': sealStep(reader),
      'fetch-base': fetchBaseStep(reader, peers),
      'export-disk': exportDiskStep(shell, virsh),
      'finish-export': finishExportStep(shell),
      'unpack-ova': unpackOvaStep(shell),
      'drop-unpacked': dropUnpackedStep(shell),
      'receive-guest': receiveGuestStep(reader),
      'define-there': defineThereStep(reader),
      'migrate-live': migrateLiveStep(reader),
      start: startStep(reader),
      stop: stopStep(virsh),
      'remove-files': removeFilesStep(shell),
      undefine: undefineStep(virsh, known),
      'remove-base': removeBaseStep(reader),
      'compare-disks': compareStep(shell, virsh),
      'swap-files': swapFilesStep(shell, virsh),
      'discard-kept': discardKeptStep(shell),
      'fill-layers': fillLayersStep(shell, virsh, jobs),
      'begin-record': beginRecordStep(shell, virsh),
      'own-layers': ownLayersStep(shell),
      redefine: redefineStep(virsh, known),
      settle: settleStep(shell, virsh),
      'stand-on': standOnStep(shell, virsh),
      'pull-disks': pullStep(shell, virsh),
      'take-snapshot': takeSnapshotStep(virsh),
      'revert-snapshot': revertStep(virsh),
      'drop-snapshot': dropSnapshotStep(virsh),
    },
    list: lister(shell, virsh, known),
    hostFacts: async () => host.facts(),
    drift: (guest, base, signal) => drift(reader, guest, base, signal),
    attest: (guest, signal) => askIdentity(virsh, guest.uuid, signal),
    leftovers: leftovers(shell, config.store),
    ...(peers ? { receive: (stream, allows) => receiveGuest(reader, peers, stream, allows) } : {}),
    watch: (onChange, signal) => watch(virsh, known, onChange, signal),
  };
}
