import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { awaitingIn, held, released, seedTargetIn } from '../../../src/drivers/libvirt/hold.ts';
import { linksOf } from '../../../src/drivers/libvirt/memory-limits.ts';
import type { Awaiting } from '../../../src/drivers/libvirt/types.ts';
import { parseXml, serialize } from '../../../src/drivers/libvirt/xml.ts';

const source = readFileSync(join(import.meta.dirname, 'golden/rich.source.xml'), 'utf8');
/** White space between elements means nothing. */
const written = (xml: string): string =>
  serialize(parseXml(xml, 'domain').document).replaceAll(/>\s+</g, '><');
const up = linksOf(source).filter((link) => link.up);
const awaiting = (part: Partial<Awaiting> = {}): Awaiting => ({
  outcome: {
    way: 'seed',
    policy: 'strict',
    decided: {
      hostname: 'web-1',
      machineId: '0'.repeat(32),
      instanceId: 'i-1',
      macs: up.map(({ mac }) => mac),
    },
    changed: ['hostname'],
    kept: [],
    verdict: 'unasked',
    problems: ['a < b & "c"'],
  },
  deadlineSeconds: 60,
  links: up.map(({ mac }) => mac),
  source: {},
  agents: [],
  ...part,
});
const drive = { path: '/store/disks/web-1/first-settings.iso', windows: false };

describe('a definition that is held back', () => {
  it('has its links down, the drive in it, and what it waits for', () => {
    const xml = held(source, awaiting({ drive }), drive);
    expect(linksOf(xml).filter((link) => link.up)).toEqual([]);
    expect(awaitingIn(xml)).toEqual(awaiting({ drive }));
    expect(seedTargetIn(xml)).toMatch(/^(sd|hd)[a-z]$/);
    expect(xml).toContain(drive.path);
  });

  it('is as before when it is let go', () => {
    expect(written(released(held(source, awaiting({ drive }), drive)))).toBe(written(source));
  });

  it('held twice it is held once', () => {
    const once = held(source, awaiting({ drive }), drive);
    expect(written(held(released(once), awaiting({ drive }), drive))).toBe(written(once));
  });

  it('of another hand’s damage says what to do', () => {
    const xml = held(source, awaiting()).replace('{&quot;', 'x').replace('{"', 'x');
    expect(() => awaitingIn(xml)).toThrow(expect.objectContaining({ code: 'source-unreadable' }));
  });

  it('an ordinary definition waits for nothing', () => {
    expect(awaitingIn(source)).toBeUndefined();
    expect(released(source)).toBe(source);
  });

  it('a Windows gets its drive where it needs no driver for it', () => {
    const plain = `<domain type='kvm'><os><type machine='pc-q35-7.2'>hvm</type></os><devices>
      <disk type='file' device='disk'><source file='/x'/><target dev='vda' bus='virtio'/></disk></devices></domain>`;
    expect(held(plain, awaiting(), { ...drive, windows: true })).toMatch(/dev="sda" bus="sata"/);
    expect(held(plain, awaiting(), drive)).toMatch(/dev="sda" bus="scsi"/);
    expect(
      held(plain.replace('pc-q35-7.2', 'pc-i440fx-7.2'), awaiting(), { ...drive, windows: true }),
    ).toMatch(/dev="hda" bus="ide"/);
  });
});
