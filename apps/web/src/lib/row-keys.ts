import type { KeyboardEvent } from 'react';

/** Keys of a table's row that has the focus: arrows move to its neighbours, the others do what `keys` says of them. */
export function onRowKey(
  event: KeyboardEvent<HTMLTableRowElement>,
  keys: Readonly<Record<string, () => void>>,
): void {
  if (event.target !== event.currentTarget) return;
  const row = event.currentTarget;
  const next =
    event.key === 'ArrowDown'
      ? row.nextElementSibling
      : event.key === 'ArrowUp'
        ? row.previousElementSibling
        : null;
  const act = keys[event.key];
  if (next instanceof HTMLElement) next.focus();
  else if (act) act();
  else return;
  event.preventDefault();
}
