/** Cases: what can't be done is refused with words and a remedy, and changes nothing. */
import { expect, it } from 'vitest';
import type { OperationRequest } from '../../../src/driver.ts';
import type { ErrorCode, OffshootError } from '../../../src/errors.ts';
import type { Stage } from '../suite.ts';
import { failure } from '../until.ts';
import { cloneOf, destroyClone, make, perform, planOf, snapshot, undoAll } from '../workbench.ts';

const nobody = { uuid: '00000000-0000-4000-8000-00000000dead', name: 'nobody' };

export function refusalCases(stage: () => Stage): void {
  const refused = async (request: OperationRequest): Promise<OffshootError> => {
    const { rig } = stage();
    const before = await snapshot(rig);
    const error = await failure(planOf(rig.driver(), request));
    expect(await snapshot(rig)).toEqual(before);
    expect(error.publicMessage).not.toBe('');
    expect(error.remedy ?? '').not.toBe('');
    return error;
  };

  it('a name that is taken', async () => {
    const { source } = stage();
    expect(await refused(cloneOf(source, source.name))).toMatchObject({ code: 'name-taken', field: 'name' });
  });

  const gone: [string, OperationRequest, ErrorCode][] = [
    ['clone', cloneOf(nobody, 'orphan'), 'source-missing'],
    ['capture', { kind: 'capture', guest: nobody, label: 'orphan' }, 'source-missing'],
    ['start', { kind: 'start', guest: nobody, waitForAgent: false, agentTimeoutSeconds: 30 }, 'not-found'],
    ['stop', { kind: 'stop', guest: nobody, force: true, timeoutSeconds: 30 }, 'not-found'],
  ];
  it.each(gone)('a guest that is gone: %s', async (_, request, code) => {
    expect((await refused(request)).code).toBe(code);
  });

  it('an image that is not there', async () => {
    const imagePath = '/nowhere/offshoot-no-such-image.qcow2';
    const request: OperationRequest = {
      kind: 'import',
      imagePath,
      label: 'x',
      osName: 'Linux',
      vcpus: 1,
      memoryMiB: 128,
      firmware: 'bios',
    };
    expect(await refused(request)).toMatchObject({ code: 'source-missing', field: 'imagePath' });
  });

  it('a disk that does not fit', async ({ skip }) => {
    const { rig, source } = stage();
    if (!rig.fillStore) skip('this rig can’t fill its store');
    const release = await rig.fillStore?.();
    try {
      expect((await refused(cloneOf(source, 'too-big'))).code).toBe('no-space');
    } finally {
      await release?.();
    }
  });

  it('a store that fills after planning: it fails, and the host is as before', async ({ skip }) => {
    const { rig, source } = stage();
    if (!rig.fillStore) skip('this rig can’t fill its store');
    const plan = await planOf(rig.driver(), cloneOf(source, 'filling'));
    const release = await rig.fillStore?.();
    try {
      const before = await snapshot(rig);
      expect(await perform(rig.driver(), plan)).toMatchObject({
        state: 'failed',
        error: { code: 'no-space' },
        undo: { leftBehind: [] },
      });
      expect(await snapshot(rig)).toEqual(before);
    } finally {
      await release?.();
    }
  });

  it('a name that someone else took after planning: it fails, and theirs is not touched', async () => {
    const { rig, source } = stage();
    const plan = await planOf(rig.driver(), cloneOf(source, 'contested'), 'mine');
    const { plan: theirs } = await make(rig, cloneOf(source, 'contested'), 'theirs');
    const before = await snapshot(rig);
    const definition = await rig.definition('contested');
    const content = await rig.content('contested');
    expect(await perform(rig.driver(), plan)).toMatchObject({
      state: 'failed',
      error: { code: 'name-taken' },
      undo: { leftBehind: [] },
    });
    await undoAll(rig.driver(), plan);
    expect(await snapshot(rig)).toEqual(before);
    expect(await rig.definition('contested')).toEqual(definition);
    expect(await rig.content('contested')).toEqual(content);
    await destroyClone(rig, theirs);
  });

  it('a file that someone else put where the plan makes one: it fails, and theirs is not touched', async ({
    skip,
  }) => {
    const { rig, source } = stage();
    if (!rig.placeFile) skip('names that this driver makes up can’t be met by chance');
    const plan = await planOf(rig.driver(), cloneOf(source, 'blocked'));
    const path = plan.creates.find((made) => made.type === 'file')?.name ?? '';
    const takeAway = await rig.placeFile?.(path);
    const before = await snapshot(rig);
    const content = await rig.fileContent(path);
    expect(await perform(rig.driver(), plan)).toMatchObject({
      state: 'failed',
      error: { code: 'in-use' },
      undo: { leftBehind: [] },
    });
    expect(await snapshot(rig)).toEqual(before);
    expect(await rig.fileContent(path)).toBe(content);
    await takeAway?.();
  });
}
