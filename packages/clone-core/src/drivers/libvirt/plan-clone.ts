/** Plans of clones. Pure. */
import { inNetwork, readAddress } from '../../identity/addresses.ts';
import type { IdSource, OperationRequest } from '../../driver.ts';
import type { Generations, PlanNote } from '../../contract.ts';
import { OffshootError } from '../../errors.ts';
import { capabilities } from './capabilities.ts';
import { layerPaths, whyNoRecord } from './generations.ts';
import { recordName } from './records.ts';
import { readDomain, type Domain } from './domain-read.ts';
import { rewriteDomain } from './domain-xml.ts';
import { planCopies, plainly, type CopyPlan } from './plan-copy.ts';
import {
  basisOf,
  consistencyNotes,
  consistencyOf,
  directory,
  estimate,
  file,
  gib,
  info,
  needSource,
  needSpace,
  OVERLAY_BYTES,
  sumOf,
  UNDEFINE_TPM,
  warn,
  type Draft,
  type DraftStep,
} from './plan-parts.ts';
import { planIdentity, type IdentityWish, type PlannedIdentity } from './plan-identity.ts';
import { compareCopies } from './plan-verify.ts';
import type { LibvirtFacts, OverlayStep, SourceFacts } from './types.ts';

export type CloneRequest = Extract<OperationRequest, { kind: 'clone' }>;

export function planClone(request: CloneRequest, facts: LibvirtFacts, ids: IdSource): Draft {
  const { mode, name, options } = request;
  const source = needSource(facts);
  refuse(request, facts, source);
  const domain = readDomain(source.definition);
  const uuid = ids.uuid();
  const genid = ids.uuid();
  const macs = newMacs(domain.nics.length, facts, ids);
  const label = request.source.type === 'guest' ? request.source.guest.name : request.source.label;
  // The UUID in the folder's name: two plans of the same name can't touch each other's files.
  const folder = `${facts.store}/disks/${name}-${uuid.slice(0, 8)}`;
  const guest = request.source.type === 'guest' ? request.source.guest : undefined;
  const refresh = options.refreshable ? firstGeneration(source, { uuid, name }) : undefined;
  const copies =
    mode === 'full'
      ? planCopies(source, refresh ? refresh.into(folder) : plainly(folder), guest)
      : overlays(request, facts, source, folder);
  const own = refresh ? ownLayers(copies, source, folder) : undefined;
  const files = own ? own.files : copies.files;
  needSpace(facts, copies.storeBytes, mode === 'full');
  const nvramPath = domain.nvram ? `${facts.store}/nvram/${name}-${uuid.slice(0, 8)}_VARS.fd` : undefined;
  const identity = planIdentity(wishOf(request), source, { guest: { uuid, name }, macs, folder, files }, ids);
  const rewritten = rewriteDomain(source.definition, {
    name,
    uuid,
    genid,
    macs,
    disks: files,
    ...(nvramPath === undefined ? {} : { nvramPath }),
    ...(options.vcpus === undefined ? {} : { vcpus: options.vcpus }),
    ...(options.memoryMiB === undefined ? {} : { memoryMiB: options.memoryMiB }),
    ...(options.network === undefined ? {} : { network: options.network }),
  });
  const define: DraftStep = {
    kind: 'define',
    title: `Define ${name}`,
    guest: { uuid, name },
    xml: identity.hold(rewritten),
    identity: identity.awaiting.outcome,
    scratch: `${facts.store}/.define-${uuid}.xml`,
    undefineTpm: facts.libvirtVersion >= UNDEFINE_TPM,
  };
  const firmware: DraftStep[] =
    nvramPath !== undefined && source.nvram?.type === 'file'
      ? [{ kind: 'copy-file', title: 'Copy firmware settings', from: source.nvram.path, to: nvramPath }]
      : [];
  const tpm = tpmSteps(request, source, domain, uuid);
  // A full copy takes long: define first, so that a definition libvirt refuses is found within a second.
  const verify = options.verify
    ? [
        compareCopies(source, copies.files, {
          label,
          store: facts.store,
          id: uuid,
          ...(guest ? { guest } : {}),
        }),
      ]
    : [];
  const made =
    mode === 'full' ? [define, ...copies.steps, ...(own ? [own.step] : [])] : [...copies.steps, define];
  const steps = [
    ...made,
    ...firmware,
    ...tpm,
    ...verify,
    ...identity.prepare,
    ...startSteps(request, { uuid, name }, identity),
  ];
  const result = readDomain(rewritten);
  return {
    summary: `${mode === 'full' ? 'Full' : 'Linked'} clone ${name} of ${label}`,
    strategy: copies.strategy,
    consistency: source.warm ? 'crash' : consistencyOf(source),
    estimates: estimate(
      facts,
      { read: copies.moveBytes, move: copies.moveBytes, store: copies.storeBytes },
      {
        steps: steps.length,
        starts: options.start && options.waitForAgent,
        ...(options.verify ? { hashes: sumOf(source.disks, 'virtualBytes') } : {}),
      },
    ),
    notes: [
      ...consistencyNotes(source),
      ...(source.warm
        ? [
            warn(
              'The template’s disks were taken with what ran on them: a clone that boots finds them as after a power cut.',
            ),
          ]
        : []),
      ...notesOf(request, facts, source, domain, copies),
      ...identity.notes,
    ],
    steps,
    creates: [
      directory(folder),
      ...Object.values(copies.files).map((each) => file(each.path)),
      ...(own ? Object.values(own.files).map((each) => file(each.path)) : []),
      ...(nvramPath === undefined ? [] : [file(nvramPath)]),
      ...identity.creates,
      ...tpm.flatMap((step) => (step.kind === 'copy-tpm' ? [directory(step.to)] : [])),
      { type: 'guest', name },
    ],
    guest: {
      name,
      uuid,
      macs,
      memoryBytes: result.memoryBytes,
      vcpus: result.vcpus,
      virtualBytes: sumOf(source.disks, 'virtualBytes'),
    },
    ...(mode === 'linked' && request.source.type === 'base'
      ? { baseDigest: request.source.base.digest }
      : {}),
    ...(refresh && own ? { generations: refresh.generations(own, copies) } : {}),
    basis: [mode, options, basisOf(source), identity.awaiting.outcome.way, identity.awaiting.outcome.policy],
  };
}

export const wishOf = ({ mode, name, index, options }: CloneRequest): IdentityWish => ({
  mode,
  name,
  index,
  options: options.identity,
});

/** Throws for what no clone of this source can have, whatever its kind. */
export function refuse(request: CloneRequest, facts: LibvirtFacts, source: SourceFacts): void {
  const can = capabilities[request.mode][source.state];
  if (can !== true)
    throw new OffshootError('unavailable-mode', {
      publicMessage: can.why,
      ...(can.remedy ? { remedy: can.remedy } : {}),
      field: 'mode',
    });
  if (facts.takenNames.includes(request.name)) {
    throw new OffshootError('name-taken', {
      publicMessage: `There already is a guest named ${request.name} on this host.`,
      remedy: 'Choose another name.',
      field: 'name',
    });
  }
  if (source.cpuLacking !== undefined && request.options.start)
    throw new OffshootError('unavailable-mode', {
      publicMessage: `The clone could not start here: ${source.cpuLacking}.`,
      remedy: 'Choose another host, or don’t start it and change its processor first.',
      field: 'hostId',
    });
  if (request.options.verify) refuseVerify(request, source);
  const { network, tpm, refreshable } = request.options;
  if (refreshable && (request.mode !== 'full' || request.source.type !== 'guest'))
    throw new OffshootError('invalid-input', {
      publicMessage:
        request.mode === 'full'
          ? 'A template version never changes, so there is nothing to refresh a clone of it from.'
          : 'Only full clones can be brought up to date later.',
      remedy: 'Leave that option out, or make a full clone of a guest.',
      field: 'options.refreshable',
    });
  if (network !== undefined && !facts.host.networks.some((each) => each.name === network)) {
    throw new OffshootError('invalid-input', {
      publicMessage: `The host has no network named ${network}.`,
      remedy:
        facts.host.networks.length > 0
          ? `It has: ${facts.host.networks.map((each) => each.name).join(', ')}.`
          : 'Leave the network as the source’s.',
      field: 'options.network',
    });
  }
  if (tpm === 'copy' && (source.state !== 'stopped' || !source.tpm?.exists)) {
    throw new OffshootError('unavailable-mode', {
      publicMessage:
        source.state === 'stopped'
          ? 'The source has no TPM state that could be copied.'
          : 'TPM state can only be copied from a stopped guest.',
      remedy: 'Give the clone a new TPM, or stop the source first.',
      field: 'options.tpm',
    });
  }
}

/** What a copy is compared with must be what was copied. */
function refuseVerify(request: CloneRequest, source: SourceFacts): void {
  const still = source.state === 'stopped' || source.state === 'template';
  if (request.mode === 'full' && still) return;
  throw new OffshootError('unavailable-mode', {
    publicMessage:
      request.mode === 'full'
        ? 'The source runs and goes on changing, so there is nothing to compare the copy with afterwards.'
        : 'A linked clone copies nothing, so there is no copy to compare.',
    remedy:
      request.mode === 'full'
        ? 'Stop the source first, or clone without comparing.'
        : 'Clone without comparing; the base can be compared later, on the clone’s page.',
    field: 'options.verify',
  });
}

/** A clone that can be refreshed: what was copied stays as it is, its own writes go into files on top. */
function firstGeneration(source: SourceFacts, guest: { uuid: string; name: string }) {
  const noRecord =
    source.state === 'running' ? whyNoRecord(source) : 'the source was not running when it was cloned';
  const record = noRecord === undefined ? recordName(guest, 1) : undefined;
  return {
    into: (folder: string) => ({
      folder,
      name: (target: string, format: string) => {
        const { layer } = layerPaths(folder, target, 1, format);
        return layer.slice(layer.lastIndexOf('/') + 1);
      },
      ...(record === undefined ? {} : { record }),
    }),
    generations: (own: { files: CopyPlan['files'] }, copies: CopyPlan): Generations => ({
      current: 1,
      next: 2,
      list: [
        {
          number: 1,
          at: '',
          kept: false,
          ...(record === undefined ? { noRecord: noRecord ?? '' } : { record }),
          disks: source.disks.map(({ target, path }) => ({
            target,
            layer: copies.files[target]?.path ?? '',
            own: own.files[target]?.path ?? '',
            sourcePath: path,
          })),
        },
      ],
    }),
  };
}

function ownLayers(
  copies: CopyPlan,
  source: SourceFacts,
  folder: string,
): { step: DraftStep; files: CopyPlan['files'] } {
  const disks = source.disks.map(({ target, virtualBytes }) => ({
    target,
    onto: copies.files[target]?.path ?? '',
    ontoFormat: copies.files[target]?.format ?? 'qcow2',
    to: layerPaths(folder, target, 1).own,
    virtualBytes,
  }));
  return {
    step: { kind: 'own-layers', title: 'Create the files for its own writes', disks },
    files: Object.fromEntries(disks.map((disk) => [disk.target, { path: disk.to, format: 'qcow2' }])),
  };
}

export function newMacs(count: number, facts: LibvirtFacts, ids: IdSource): string[] {
  const taken = new Set(facts.takenMacs);
  return Array.from({ length: count }, () => {
    const mac = ids.mac(taken);
    taken.add(mac);
    return mac;
  });
}

/** Disks of a clone on its base. */
export function overlayDisks(
  request: CloneRequest,
  facts: LibvirtFacts,
  source: SourceFacts,
  folder: string,
): Pick<OverlayStep, 'base' | 'disks'> {
  // Of a guest this is a preview: a capture makes the base, and the plan that runs is made from that.
  const base = request.source.type === 'base' ? request.source.base.digest : '';
  const disks = source.disks.map((disk) => ({
    target: disk.target,
    basePath: base ? disk.path : `${facts.store}/bases/captured/${disk.target}.qcow2`,
    baseFormat: base ? disk.format : 'qcow2',
    baseBytes: base ? (disk.chain[0]?.size ?? 0) : -1,
    to: `${folder}/${disk.target}.qcow2`,
    virtualBytes: disk.virtualBytes,
  }));
  return { base, disks };
}

function overlays(request: CloneRequest, facts: LibvirtFacts, source: SourceFacts, folder: string): CopyPlan {
  const { base, disks } = overlayDisks(request, facts, source, folder);
  return {
    steps: [
      {
        kind: 'create-overlays',
        title: disks.length === 1 ? 'Create disk on its base' : `Create ${disks.length} disks on their base`,
        base,
        disks,
      },
    ],
    strategy: 'overlay',
    files: Object.fromEntries(disks.map((disk) => [disk.target, { path: disk.to, format: 'qcow2' }])),
    moveBytes: 0,
    storeBytes: OVERLAY_BYTES * disks.length,
  };
}

function tpmSteps(request: CloneRequest, source: SourceFacts, domain: Domain, uuid: string): DraftStep[] {
  if (request.options.tpm !== 'copy' || !source.tpm || request.source.type !== 'guest') return [];
  const to = source.tpm.statePath.replace(domain.uuid, uuid);
  return [
    {
      kind: 'copy-tpm',
      title: 'Copy TPM state',
      from: source.tpm.statePath,
      to,
      stopped: request.source.guest,
    },
  ];
}

/** A guest whose network waits for its agent is waited for there. */
function startSteps(
  { options }: CloneRequest,
  guest: { uuid: string; name: string },
  { attest, awaiting }: PlannedIdentity,
): DraftStep[] {
  if (!options.start) return [];
  const waits = options.waitForAgent && attest.length === 0;
  return [
    {
      kind: 'start',
      title: waits ? 'Start and wait for its agent' : `Start ${guest.name}`,
      guest,
      ours: true,
      ...(waits ? { agentSeconds: options.agentTimeoutSeconds } : {}),
      ...(awaiting.drive && attest.length === 0 ? { notes: awaiting } : {}),
    },
    ...attest,
  ];
}

function notesOf(
  request: CloneRequest,
  facts: LibvirtFacts,
  source: SourceFacts,
  domain: Domain,
  copies: CopyPlan,
): PlanNote[] {
  const notes: PlanNote[] = [];
  const { options, mode } = request;
  if (mode === 'full' && copies.strategy.includes('reflink'))
    notes.push(
      info(
        'The store shares blocks: the copy takes no time and no space until one of the two is written to.',
      ),
    );
  if (mode === 'full' && source.disks.some((disk) => disk.chain.length > 1))
    notes.push(info('The source’s disks stand on others; the clone’s are whole.'));
  if (domain.hasEmulatedTpm)
    notes.push(
      options.tpm === 'copy'
        ? warn('The clone gets a copy of the TPM’s state: secrets sealed in it open in both.')
        : info('The clone gets an empty TPM; secrets sealed in the source’s stay there.'),
    );
  if (source.nvram && source.nvram.type !== 'file')
    notes.push(warn('The firmware settings are not in a file; the clone starts with fresh ones.'));
  if (options.refreshable && source.state === 'running' && whyNoRecord(source) === undefined)
    notes.push(
      info(
        'The source begins a change record for it, which costs it a little memory until the clone is deleted.',
      ),
    );
  if (options.refreshable && (source.state !== 'running' || whyNoRecord(source) !== undefined))
    notes.push(
      info(
        `Its first refresh will read both sides to find what changed, because ${source.state === 'running' ? (whyNoRecord(source) ?? '') : 'the source does not run now'}.`,
      ),
    );
  if (source.cpuLacking !== undefined) notes.push(warn(`It can’t start here: ${source.cpuLacking}.`));
  return [...notes, ...placeNotes(options, facts, domain)];
}

/** libvirt's own networks know where they are; on a mere bridge any address may be right. */
function addressNotes(
  { identity }: CloneRequest['options'],
  facts: LibvirtFacts,
  networks: readonly (string | undefined)[],
): PlanNote[] {
  const first = identity?.addressing?.type === 'static' ? identity.addressing.first : undefined;
  const address = first === undefined ? undefined : readAddress(first);
  const network = facts.host.networks.find(({ name }) => name === networks[0]);
  if (!address || !network) return [];
  const near = (network.subnets ?? []).filter((each) => readAddress(each)?.version === address.version);
  if (near.length === 0 || near.some((each) => inNetwork(readAddress(each) ?? address, address))) return [];
  return [
    warn(
      `The address ${first} is outside the network ${network.name}, where libvirt has ${near.join(' and ')}: the clone may reach nobody there.`,
    ),
  ];
}

/** What the user should know of where the clone will run. */
export function placeNotes(
  options: CloneRequest['options'],
  facts: LibvirtFacts,
  domain: Domain,
): PlanNote[] {
  const notes: PlanNote[] = [];
  const changed = options.network !== undefined;
  if (changed && !domain.nics.some((nic) => nic.type === 'network'))
    notes.push(warn('The source has no network card on a libvirt network; none was moved.'));
  const networks = changed ? [options.network] : domain.nics.map((nic) => nic.network);
  for (const name of new Set(networks))
    if (name !== undefined && !facts.host.networks.some((each) => each.name === name && each.active))
      notes.push(warn(`The network ${name} is not active on the host: the clone can’t start until it is.`));
  notes.push(...addressNotes(options, facts, networks));
  if (domain.disks.some((disk) => disk.device === 'cdrom' && disk.path !== undefined))
    notes.push(info('CD-ROMs keep the same medium.'));
  const need = options.memoryMiB === undefined ? domain.memoryBytes : options.memoryMiB * 1024 ** 2;
  if (options.start && need > facts.host.memoryFreeBytes)
    notes.push(
      warn(`It needs ${gib(need)} of memory, ${gib(facts.host.memoryFreeBytes)} are free on the host.`),
    );
  return [...notes, ...domain.warnings.map(warn)];
}
