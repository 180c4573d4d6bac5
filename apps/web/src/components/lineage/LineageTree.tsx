'use client';

import { Text, UnstyledButton } from '@mantine/core';
import Link from 'next/link';
import { count } from '../../lib/format.ts';
import { hrefOf, shownUnder, type Branch } from '../../lib/lineage.ts';
import { GuestStateLabel } from '../display/State.tsx';
import { Simulated } from '../display/Text.tsx';
import { edgeWords, kindWords, spaceOf } from './facts.tsx';
import classes from './lineage.module.css';

interface Props {
  roots: readonly Branch[];
  unfolded: ReadonlySet<string>;
  focus: string | undefined;
  onUnfold: (parent: string) => void;
  /** A node that is pointed at or focused, for the canvas beside it. */
  onActive: ((id: string) => void) | undefined;
}

/** The lineage as nested lists: everything that the canvas shows, for keyboard, screen reader and narrow screens. */
export function LineageTree(props: Props) {
  return (
    <nav className={`panel ${classes['tree'] ?? ''}`} aria-label="Lineage as a tree" tabIndex={-1}>
      <List parent={null} branches={props.roots} {...props} />
    </nav>
  );
}

function List({
  parent,
  branches,
  ...props
}: Props & { parent: Branch | null; branches: readonly Branch[] }) {
  const { unfolded, focus, onUnfold } = props;
  const shown = shownUnder(parent?.node.id ?? null, branches, unfolded, focus);
  return (
    <ul>
      {shown.branches.map((branch) => (
        <li key={branch.node.id}>
          <Item branch={branch} focus={focus} onActive={props.onActive} />
          {branch.children.length > 0 ? <List {...props} parent={branch} branches={branch.children} /> : null}
        </li>
      ))}
      {shown.more > 0 ? (
        <li>
          <UnstyledButton
            px={6}
            py={4}
            onClick={() => onUnfold(parent?.node.id ?? '')}
            style={{ fontSize: 14, color: 'var(--mantine-color-anchor)' }}
            aria-label={`Show ${shown.more} more under ${parent?.node.name ?? 'Lineage'}`}
          >
            {shown.more} more
          </UnstyledButton>
        </li>
      ) : null}
    </ul>
  );
}

function Item({
  branch: { node, children },
  focus,
  onActive,
}: {
  branch: Branch;
  focus: string | undefined;
  onActive: Props['onActive'];
}) {
  const href = hrefOf(node);
  const activate = (): void => onActive?.(node.id);
  return (
    <div
      className={classes['item']}
      data-focus={node.id === focus || undefined}
      onPointerEnter={activate}
      onFocus={activate}
    >
      {href === null ? (
        <Text span size="sm" fw={550}>
          {node.name}
        </Text>
      ) : (
        <Link className="thing" style={{ fontSize: 14 }} href={href}>
          {node.name}
        </Link>
      )}
      <div className={classes['facts']}>
        {node.kind === 'guest' ? <GuestStateLabel state={node.state} /> : null}
        {node.kind === 'template' ? (
          <span>{`${kindWords.template}, ${count(children.length, 'version')}`}</span>
        ) : null}
        {node.edge === null || node.edge === 'version' ? null : <span>{edgeWords[node.edge]}</span>}
        {spaceOf(node) === '' ? null : <span className="num">{spaceOf(node)}</span>}
        {'simulated' in node && node.simulated && node.kind === 'base' ? <Simulated /> : null}
      </div>
    </div>
  );
}
