/**
 * Writes a small CD image of a few files in memory: what a guest reads once holds secrets, and so they are in no file
 * on the way. ISO 9660 (ECMA-119) with the Joliet names that Windows and Linux both read.
 */
import { OffshootError } from '../errors.ts';

const SECTOR = 2048;
const FIRST_DESCRIPTOR = 16;
/** Sectors of the path tables (each in both byte orders) and of the two views of the one folder. */
const TABLES = { plain: [19, 20], joliet: [21, 22] } as const;
const ROOTS = { plain: 23, joliet: 24 } as const;
const FIRST_FILE = 25;
/** Readers look ahead, and a drive fails where a file would just end: zeros behind the last file, as mkisofs writes them. */
const PADDING = 150;

type View = 'plain' | 'joliet';

export interface CdFile {
  /** In the one folder of the CD, at most 64 characters. */
  name: string;
  content: string | Buffer;
}

/**
 * An image with these files in its root folder. `label`: volume id, at most 16 characters. Throws `internal` for more
 * files than its one folder sector holds.
 */
export function cdImage(label: string, files: readonly CdFile[], made: Date): Buffer {
  let next = FIRST_FILE;
  const placed = files
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, content }) => {
      const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content);
      const at = next;
      next += Math.max(1, Math.ceil(bytes.length / SECTOR));
      return { name, bytes, at };
    });
  next += PADDING;
  const image = Buffer.alloc(next * SECTOR);
  const put = (sector: number, part: Buffer): void => {
    part.copy(image, sector * SECTOR);
  };
  for (const [index, view] of (['plain', 'joliet'] as const).entries()) {
    put(FIRST_DESCRIPTOR + index, descriptor(view, label, next, made));
    for (const [order, sector] of TABLES[view].entries()) put(sector, pathTable(ROOTS[view], order === 1));
    put(ROOTS[view], folder(view, placed, made));
  }
  put(FIRST_DESCRIPTOR + 2, Buffer.concat([Buffer.from([255]), Buffer.from('CD001'), Buffer.from([1])]));
  for (const file of placed) put(file.at, file.bytes);
  return image;
}

/** Numbers that are there in both byte orders, little-endian first. */
function both32(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(value, 0);
  out.writeUInt32BE(value, 4);
  return out;
}
function both16(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt16LE(value, 0);
  out.writeUInt16BE(value, 2);
  return out;
}

/** UCS-2, big-endian. */
const wide = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

const textIn = (view: View, text: string, length: number): Buffer => {
  const blank = view === 'joliet' ? wide(' '.repeat(length / 2)) : Buffer.alloc(length, ' ');
  (view === 'joliet' ? wide(text) : Buffer.from(text, 'latin1')).copy(blank, 0, 0, length);
  return blank;
};

function descriptor(view: View, label: string, sectors: number, made: Date): Buffer {
  const out = Buffer.alloc(SECTOR);
  out[0] = view === 'plain' ? 1 : 2;
  out.write('CD001', 1);
  out[6] = 1;
  textIn(view, '', 32).copy(out, 8);
  textIn(view, label, 32).copy(out, 40);
  both32(sectors).copy(out, 80);
  if (view === 'joliet') out.write('%/E', 88); // UCS-2 level 3
  both16(1).copy(out, 120);
  both16(1).copy(out, 124);
  both16(SECTOR).copy(out, 128);
  both32(PATH_TABLE_BYTES).copy(out, 132);
  out.writeUInt32LE(TABLES[view][0], 140);
  out.writeUInt32BE(TABLES[view][1], 148);
  record(Buffer.from([0]), ROOTS[view], SECTOR, true, made).copy(out, 156);
  textIn(view, '', 623).copy(out, 190); // names of the volume set, publisher, preparer, application, files
  const stamp = `${made
    .toISOString()
    .replaceAll(/[-:TZ.]/g, '')
    .slice(0, 16)}\0`;
  out.write(stamp, 813, 'latin1');
  out.write(stamp, 830, 'latin1');
  out.write(`${'0'.repeat(16)}\0`, 847, 'latin1');
  out.write(`${'0'.repeat(16)}\0`, 864, 'latin1');
  out[881] = 1;
  return out;
}

const PATH_TABLE_BYTES = 10;

function pathTable(root: number, bigEndian: boolean): Buffer {
  const out = Buffer.alloc(PATH_TABLE_BYTES);
  out[0] = 1;
  if (bigEndian) out.writeUInt32BE(root, 2);
  else out.writeUInt32LE(root, 2);
  out[bigEndian ? 7 : 6] = 1;
  return out;
}

function folder(
  view: View,
  files: readonly { name: string; bytes: Buffer; at: number }[],
  made: Date,
): Buffer {
  const records = [
    record(Buffer.from([0]), ROOTS[view], SECTOR, true, made),
    record(Buffer.from([1]), ROOTS[view], SECTOR, true, made),
    ...files.map(({ name, bytes, at }) =>
      record(
        view === 'joliet' ? wide(name) : Buffer.from(`${name.toUpperCase()};1`, 'latin1'),
        at,
        bytes.length,
        false,
        made,
      ),
    ),
  ];
  const all = Buffer.concat(records);
  if (all.length <= SECTOR) return all;
  throw new OffshootError('internal', { publicMessage: 'Too many files for a small CD image.' });
}

function record(name: Buffer, at: number, bytes: number, isFolder: boolean, made: Date): Buffer {
  const length = 33 + name.length + (name.length % 2 === 0 ? 1 : 0);
  const out = Buffer.alloc(length);
  out[0] = length;
  both32(at).copy(out, 2);
  both32(bytes).copy(out, 10);
  const stamp = [
    made.getUTCFullYear() - 1900,
    made.getUTCMonth() + 1,
    made.getUTCDate(),
    made.getUTCHours(),
    made.getUTCMinutes(),
    made.getUTCSeconds(),
    0,
  ];
  Buffer.from(stamp).copy(out, 18);
  out[25] = isFolder ? 2 : 0;
  both16(1).copy(out, 28);
  out[32] = name.length;
  name.copy(out, 33);
  return out;
}
