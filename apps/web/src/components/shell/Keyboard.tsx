'use client';

import { Kbd, Modal, Table } from '@mantine/core';
import { spotlight } from '@mantine/spotlight';
import { useRouter } from 'next/navigation';
import { useEffect, useRef } from 'react';

const goes: Readonly<Record<string, string>> = {
  o: '/',
  g: '/guests',
  t: '/templates',
  l: '/lineage',
  h: '/hosts',
  p: '/operations',
};
/** Milliseconds between `g` and the letter after it. */
const CHORD_MS = 1200;

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) ||
    target.closest('[role="dialog"],[role="listbox"],[role="menu"]') !== null);

/** Keys that work on every page, but never while someone types. */
export function Keyboard({ onHelp }: { onHelp: () => void }) {
  const router = useRouter();
  const pressedG = useRef(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target))
        return;
      const target = goes[event.key];
      if (target !== undefined && Date.now() - pressedG.current < CHORD_MS) {
        pressedG.current = 0;
        router.push(target);
      } else if (event.key === 'g') {
        pressedG.current = Date.now();
        return;
      } else if (event.key === 'c') router.push('/clone');
      else if (event.key === '?') onHelp();
      else if (event.key === '/') focusSearch();
      else return;
      event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [router, onHelp]);
  return null;
}

function focusSearch(): void {
  const field = document.querySelector<HTMLInputElement>('input[data-page-search]');
  if (field) field.focus();
  else spotlight.open();
}

const keys: [string[], string][] = [
  [['/'], 'Search this page'],
  [['Ctrl', 'K'], 'Find anything'],
  [['c'], 'New clone'],
  [['g', 'o'], 'Overview'],
  [['g', 'g'], 'Guests'],
  [['g', 't'], 'Templates'],
  [['g', 'l'], 'Lineage'],
  [['g', 'p'], 'Operations'],
  [['g', 'h'], 'Hosts'],
  [['↑', '↓'], 'Move in a table'],
  [['Space'], 'Select the row'],
  [['Enter'], 'Open the row'],
  [['?'], 'This list'],
];

/** What the keys do. */
export function HelpSheet({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard" size="sm">
      <Table verticalSpacing={6}>
        <Table.Tbody>
          {keys.map(([combination, what]) => (
            <Table.Tr key={what}>
              <Table.Td w={120}>
                {combination.map((key) => (
                  <Kbd key={key} mr={4}>
                    {key}
                  </Kbd>
                ))}
              </Table.Td>
              <Table.Td>{what}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
