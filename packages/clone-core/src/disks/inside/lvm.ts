/**
 * Logical volumes by their metadata on the disk, read without LVM's own programs: those would let the host's kernel map a
 * guest's volumes, under names that may be the host's own. Format: https://github.com/libyal/libvslvm/blob/main/documentation/
 * and lvm2's lib/format_text/layout.h.
 */
import type { Session } from './session.ts';
import type { Volume } from './volumes.ts';

const SECTOR = 512;
const MAX_METADATA = 4 * 1024 * 1024;
const MAGIC = ' LVM2 x[5A%r0N*>';

/** Volumes of the group that this physical volume is in. One that can't be read as one piece of it is `scattered`. */
export async function logicalVolumes(session: Session, physical: Volume): Promise<Volume[]> {
  const found = await metadataOf(session, physical);
  return found ? fromMetadata(parseMetadata(found.text), found.id, physical) : [];
}

async function bytes(session: Session, volume: Volume, from: number, length: number): Promise<Buffer> {
  const { stdout } = await session.run([
    'od',
    '-An',
    '-v',
    '-tx1',
    '-j',
    String(volume.offset + from),
    '-N',
    String(length),
    session.fileOf(volume.target),
  ]);
  return Buffer.from(stdout.replaceAll(/\s/g, ''), 'hex');
}

async function metadataOf(
  session: Session,
  volume: Volume,
): Promise<{ text: string; id: string } | undefined> {
  const labels = await bytes(session, volume, 0, 4 * SECTOR);
  const at = [0, 1, 2, 3].find((n) => labels.toString('latin1', n * SECTOR, n * SECTOR + 8) === 'LABELONE');
  if (at === undefined) return undefined;
  const label = labels.subarray(at * SECTOR, (at + 1) * SECTOR);
  // label_header: id[8], sector u64, crc u32, offset of the content u32; pv_header: uuid[32], size u64, then two lists.
  const content = label.readUInt32LE(20);
  const id = label.toString('latin1', content, content + 32);
  let next = content + 40;
  const list = (): { offset: number; size: number }[] => {
    const found: { offset: number; size: number }[] = [];
    while (next + 16 <= label.length) {
      const offset = Number(label.readBigUInt64LE(next));
      const size = Number(label.readBigUInt64LE(next + 8));
      next += 16;
      if (offset === 0) break;
      found.push({ offset, size });
    }
    return found;
  };
  list(); // data areas
  for (const area of list()) {
    const header = await bytes(session, volume, area.offset, SECTOR);
    if (header.length < 64 || header.toString('latin1', 4, 20) !== MAGIC) continue;
    // mda_header: crc u32, magic[16], version u32, start u64, size u64; raw_locn: offset u64, size u64, crc u32, flags u32.
    const offset = Number(header.readBigUInt64LE(40));
    const size = Number(header.readBigUInt64LE(48));
    if (offset === 0 || size <= 0 || size > MAX_METADATA || size > area.size) continue;
    // The area is a ring behind its header.
    const first = Math.min(size, area.size - offset);
    const text = [await bytes(session, volume, area.offset + offset, first)];
    if (first < size) text.push(await bytes(session, volume, area.offset + SECTOR, size - first));
    return { text: Buffer.concat(text).toString('latin1'), id };
  }
  return undefined;
}

export type Section = { [name: string]: Section | string | number | (string | number)[] };

/** LVM's configuration text: `name = value` and `name { … }`. Never throws: what makes no sense ends the reading. */
export function parseMetadata(text: string): Section {
  const tokens = [...text.matchAll(/#[^\n]*|"((?:\\.|[^"\\])*)"|([{}[\]=,])|([^\s{}[\]=,"#]+)/g)].filter(
    ([whole]) => !whole.startsWith('#'),
  );
  let at = 0;
  const scalar = (): string | number | undefined => {
    const token = tokens[at];
    if (!token || token[2] !== undefined) return undefined;
    at++;
    if (token[1] !== undefined) return token[1];
    const word = token[3] ?? '';
    return /^-?\d+(\.\d+)?$/.test(word) ? Number(word) : word;
  };
  const section = (depth: number): Section => {
    const result: Section = {};
    while (at < tokens.length) {
      if (tokens[at]?.[2] === '}') {
        at++;
        break;
      }
      const name = scalar();
      const mark = tokens[at++]?.[2];
      if (name === undefined || mark === undefined || depth > 20) break;
      if (mark === '{') result[name] = section(depth + 1);
      else if (mark !== '=') break;
      else if (tokens[at]?.[2] === '[') {
        at++;
        const items: (string | number)[] = [];
        while (at < tokens.length && tokens[at]?.[2] !== ']') {
          const item = scalar();
          if (item !== undefined) items.push(item);
          if (tokens[at]?.[2] === ',') at++;
          else if (tokens[at]?.[2] !== ']') break;
        }
        at++;
        result[name] = items;
      } else {
        const value = scalar();
        if (value === undefined) break;
        result[name] = value;
      }
    }
    return result;
  };
  return section(0);
}

const sub = (parent: Section | undefined, name: string): Section | undefined => {
  const found = parent?.[name];
  return typeof found === 'object' && !Array.isArray(found) ? found : undefined;
};
const number = (of: Section | undefined, name: string): number => {
  const found = of?.[name];
  return typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 ? found : 0;
};

function pieceOf(segment: Section | undefined): { disk: string; start: number; extents: number } | undefined {
  const stripes = segment?.['stripes'];
  const [disk, start] = Array.isArray(stripes) ? stripes : [];
  if (segment?.['type'] !== 'striped' || number(segment, 'stripe_count') !== 1) return undefined;
  if (typeof disk !== 'string' || typeof start !== 'number') return undefined;
  return { disk, start, extents: number(segment, 'extent_count') };
}

/** `id`: of the physical volume, as in its label. */
function fromMetadata(metadata: Section, id: string, physical: Volume): Volume[] {
  const [group, content] =
    Object.entries(metadata).find(([, value]) => typeof value === 'object' && !Array.isArray(value)) ?? [];
  if (group === undefined || typeof content !== 'object' || Array.isArray(content)) return [];
  const extent = number(content, 'extent_size') * SECTOR;
  const disks = sub(content, 'physical_volumes') ?? {};
  const volumes = sub(content, 'logical_volumes') ?? {};
  return Object.keys(volumes).map((name) => {
    const { target } = physical;
    const lvm = { group, volume: name };
    const volume = sub(volumes, name);
    const pieces = Array.from({ length: number(volume, 'segment_count') }, (_, index) =>
      pieceOf(sub(volume, `segment${index + 1}`)),
    );
    const [first] = pieces;
    let extents = 0;
    for (const piece of pieces) {
      const follows = piece && first && piece.disk === first.disk && piece.start === first.start + extents;
      if (!follows) return { target, offset: 0, size: 0, type: '', lvm, scattered: true };
      extents += piece.extents;
    }
    const disk = first && sub(disks, first.disk);
    const within = number(disk, 'pe_start') * SECTOR + (first?.start ?? 0) * extent;
    const size = extents * extent;
    const here = typeof disk?.['id'] === 'string' && disk['id'].replaceAll('-', '') === id;
    if (!here || size === 0 || within + size > (physical.size || Number.MAX_SAFE_INTEGER))
      return { target, offset: 0, size: 0, type: '', lvm, scattered: true };
    return { target, offset: physical.offset + within, size, type: '', lvm };
  });
}
