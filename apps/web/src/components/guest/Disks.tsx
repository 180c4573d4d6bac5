import { Table } from '@mantine/core';
import { formatBytes } from '../../lib/format.ts';
import type { GuestView } from '../../server/views/guest.ts';
import { Section } from '../display/Blocks.tsx';
import { Copyable } from '../display/Text.tsx';

/** Its disks, with the file of each. */
export function Disks({ guest }: { guest: GuestView }) {
  if (guest.disks.length === 0) return null;
  return (
    <Section title="Disks">
      <div className="panel" style={{ overflowX: 'auto' }}>
        <Table verticalSpacing={8}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Disk</Table.Th>
              <Table.Th visibleFrom="sm">File</Table.Th>
              <Table.Th>Format</Table.Th>
              <Table.Th ta="right">Uses</Table.Th>
              <Table.Th ta="right">Size</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {guest.disks.map((disk) => (
              <Table.Tr key={disk.target}>
                <Table.Td>{disk.target}</Table.Td>
                <Table.Td visibleFrom="sm">
                  <Copyable value={disk.path} />
                </Table.Td>
                <Table.Td>{disk.format}</Table.Td>
                <Table.Td ta="right" className="num">
                  {formatBytes(disk.usedBytes)}
                </Table.Td>
                <Table.Td ta="right" className="num">
                  {formatBytes(disk.virtualBytes)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Section>
  );
}
