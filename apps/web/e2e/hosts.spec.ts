import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openDatabase } from '@offshoot/db/client';
import { makeDisk, MIB } from '@offshoot/tools/lab/disks';
import { defineGuest, removeGuest, virsh } from '@offshoot/tools/lab/host';
import { expect, newName, stack, test } from './support/test.ts';

/** Two hosts that no worker serves, one giving the other a base, and an hour of samples of this machine's host. */
async function withMoreHosts(work: (names: [string, string]) => Promise<void>): Promise<void> {
  const db = openDatabase(stack.databaseUrl);
  const names: [string, string] = [newName('source'), newName('target')];
  try {
    await db.pool.query(
      `INSERT INTO "host" ("id", "name", "kind", "simulated", "facts", "heartbeatAt")
       SELECT n, n, 'simulated', true, (SELECT "facts" FROM "host" WHERE "id" = 'local'), clock_timestamp() + interval '1 hour' FROM unnest($1::text[]) n`,
      [names],
    );
    await db.pool.query(
      `INSERT INTO "operation" ("id", "kind", "state", "hostId", "lane", "title", "batchId", "request", "plan", "steps")
       VALUES ($1, 'transfer', 'running', $3, 'bulk', 'sample v9', $1, jsonb_build_object('kind', 'transfer', 'digest', 'x', 'label', 'sample v9', 'sources', jsonb_build_array($2::text), 'replace', false), $4, $5)`,
      [
        randomUUID(),
        ...names,
        JSON.stringify({ steps: [{ bytes: 100 * MIB }] }),
        JSON.stringify([
          {
            state: 'running',
            progress: { doneBytes: 25 * MIB, totalBytes: 100 * MIB, rate: 5 * MIB, secondsLeft: 15 },
          },
        ]),
      ],
    );
    await db.pool.query(
      `INSERT INTO "host_sample" ("hostId", "seconds", "at", "beats", "load", "memoryFreeBytes", "storeFreeBytes", "running")
       SELECT 'local', 30, date_bin('30 seconds', now(), 'epoch') - make_interval(secs => 30 * n), 5, 0, 1, 1, 0 FROM generate_series(20, 60) n ON CONFLICT DO NOTHING`,
    );
    await work(names);
  } finally {
    await db.pool.query('DELETE FROM "operation" WHERE "hostId" = ANY($1::text[])', [names]);
    await db.pool.query('DELETE FROM "host" WHERE "id" = ANY($1::text[])', [names]);
    await db.close();
  }
}

test('the fleet: found by name and state, drawn with what is on its way; a host’s page has its health', async ({
  page,
}) => {
  await withMoreHosts(async ([source, target]) => {
    await page.goto('/hosts');
    const main = page.getByRole('main');
    await expect(main.getByText('3 hosts')).toBeVisible();
    await expect(main.getByRole('link', { name: 'sample v9' })).toBeVisible();
    await expect(main.getByText('25 / 100 MiB · 5 MiB/s · 15 s left')).toBeVisible();
    await main.getByLabel('Search hosts').fill(target);
    await expect(main.getByRole('row')).toHaveCount(2);
    // The way back finds what was searched for.
    await main.getByRole('row').getByRole('link', { name: target }).click();
    await page.waitForURL(/\/hosts\/[^?]+$/);
    await page.goBack();
    await expect(main.getByLabel('Search hosts')).toHaveValue(target);
    await expect(main.getByRole('row')).toHaveCount(2);
    await main.getByLabel('Search hosts').fill('');
    await expect(main.getByRole('row')).toHaveCount(4);

    await page.getByText('Map', { exact: true }).click();
    await expect(page.locator('.react-flow__node')).toHaveCount(3);
    await expect(page.locator('.react-flow__edge')).toHaveCount(1);
    await expect(page.locator('.react-flow__edgelabel-renderer')).toContainText('25 / 100 MiB');
    const [from, to] = await Promise.all(
      [source, target].map((name) =>
        page.locator('.react-flow__node').filter({ hasText: name }).boundingBox(),
      ),
    );
    expect(to?.x ?? 0).toBeGreaterThan((from?.x ?? Number.POSITIVE_INFINITY) + (from?.width ?? 0));

    await page.goto('/hosts/local');
    await expect(page.getByRole('figure', { name: /^Load: 0\.0 to / })).toBeVisible();
    await expect(page.getByRole('figure', { name: /^Heartbeats that came: / })).toBeVisible();
    await expect(page.locator('.recharts-area-area').first()).toBeVisible();
    await page.getByText('Last day').click();
    await expect(page.getByRole('figure', { name: /^Load: / })).toBeVisible();
    // Who takes no bases is told so, and nothing can be asked for.
    await page.getByRole('button', { name: 'Bring a template here' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Template').click();
    await page.getByRole('option', { name: /^sample v1 / }).click();
    await expect(dialog).toContainText('has it already');
    await expect(dialog.getByRole('button', { name: 'Bring', exact: true })).toBeDisabled();
  });
});

test('a guest made outside is found, adopted when asked to, and says what was changed of it since', async ({
  page,
}) => {
  const name = newName('outside');
  const disk = join(stack.folder, `${name}.qcow2`);
  await makeDisk(disk, MIB);
  await defineGuest(name, { disks: [{ path: disk }] });
  try {
    await page.goto('/guests');
    await page.getByLabel('Search guests').fill(name);
    // The page is open when libvirt tells of it: nobody reloads.
    await page.getByRole('main').getByRole('link', { name }).click();
    await expect(page.getByText('Not made by Offshoot')).toBeVisible();
    await expect(page.getByRole('button', { name: 'Delete' })).toBeDisabled();
    await page.getByRole('button', { name: 'Adopt it' }).click();
    const dialog = page.getByRole('dialog');
    await expect(dialog).toContainText(disk);
    await dialog.getByRole('button', { name: 'Adopt' }).click();
    await expect(page.getByText('Not made by Offshoot')).toBeHidden();
    await expect(page.getByRole('button', { name: 'Delete' })).toBeEnabled();

    // As somebody edits it beside us: of `define` libvirt tells at once, of `setmaxmem` it does not.
    const edited = join(stack.folder, `${name}.xml`);
    const definition = await virsh('dumpxml', '--inactive', name);
    await writeFile(edited, definition.replace(/<memory .*<\/memory>/, "<memory unit='MiB'>200</memory>"));
    await virsh('define', edited);
    await expect(page.getByText('Changed outside Offshoot (1 thing)')).toBeVisible();
    await expect(page.getByText(/^Memory: 200 MiB, was /)).toBeVisible();
    await page.getByRole('button', { name: 'It is right as it is now' }).click();
    await expect(page.getByText('Changed outside Offshoot')).toBeHidden();
    // Offshoot touched nothing of it.
    expect(await virsh('dumpxml', name)).toContain('204800</memory>');

    await page.getByRole('button', { name: 'Delete' }).click();
    await expect(dialog).toContainText('Its disks stay');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
  } finally {
    await removeGuest(name);
  }
});
