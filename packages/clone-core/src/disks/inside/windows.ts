/** What a Windows on a disk is. Read through ntfs-3g in user space; never written. */
import type { GuestInside, InsideFinding } from '../../identity/contract.ts';
import { openMounted } from './mounted.ts';
import { Paths } from './paths.ts';
import type { Session } from './session.ts';
import type { Volume } from './volumes.ts';

/** What sysprep /generalize writes: https://learn.microsoft.com/windows-hardware/manufacture/desktop/windows-setup-states */
const GENERALIZED = ['IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE', 'IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT'];
const STATE = '/Windows/Setup/State/State.ini';
const SYSPREP = '/Windows/System32/Sysprep';
const CLOUDBASE = '/Program Files/Cloudbase Solutions/Cloudbase-Init';
const QEMU_GA = ['/Program Files/Qemu-ga/qemu-ga.exe', '/Program Files/QEMU Guest Agent/qemu-ga.exe'];

/** The session shows the volume alone. Undefined: no Windows is on it. */
export async function lookAtWindows(session: Session, volume: Volume): Promise<GuestInside | undefined> {
  const { target, offset, size } = volume;
  const tree = await openMounted(session, { ...volume, offset: 0, size: 0 });
  const paths = new Paths(tree, { ignoreCase: true });
  const system = await paths.find('/Windows/System32');
  if (system?.kind !== 'folder') return undefined;
  const [state, tag, cloudbase, ...agents] = await Promise.all([
    paths.read(STATE),
    paths.find(`${SYSPREP}/Sysprep_succeeded.tag`),
    paths.find(CLOUDBASE),
    ...QEMU_GA.map((path) => paths.find(path)),
  ]);
  // Windows writes it in UTF-16 at times: the NULs between the letters are dropped in reading.
  const imageState = /^\s*ImageState\s*=\s*"?(\w+)/m.exec(state?.replaceAll(/[\ufffd\0]/g, '') ?? '')?.[1];
  // Without a state file the tag decides; it stays after a later start, so a state wins.
  const generalized = imageState === undefined ? tag !== undefined : GENERALIZED.includes(imageState);
  const agent = agents.some((one) => one !== undefined);
  const found: InsideFinding[] = [];
  if (!generalized)
    found.push({
      what: 'not-generalized',
      level: 'warn',
      text: 'This Windows was not generalized: its clones have the same SID, which breaks logons between them (24H2, Server 2025). Run sysprep /generalize /oobe /shutdown in it.',
      paths: [STATE],
      cleanable: false,
    });
  if (!agent)
    found.push({
      what: 'no-agent',
      level: 'info',
      text: 'No QEMU guest agent is in it: a clone can’t attest its identity.',
      paths: [],
      cleanable: false,
    });
  if (!cloudbase)
    found.push({
      what: 'no-seed-reader',
      level: 'info',
      text: 'No cloudbase-init is in it: a generalized one takes an answer file instead.',
      paths: [],
      cleanable: false,
    });
  return {
    kind: 'windows',
    osName: 'Windows',
    agent,
    ...(cloudbase ? { seedReader: 'cloudbase-init' as const } : {}),
    root: { target, filesystem: 'ntfs', offset, sizeBytes: size },
    notEditable: 'Windows’ files are not changed from outside',
    found,
    agents: [],
    windows: { generalized, ...(imageState === undefined ? {} : { imageState }) },
  };
}
