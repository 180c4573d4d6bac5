'use client';

import { Box, Button, Group, Text } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import dynamic from 'next/dynamic';
import Link from 'next/link';
import { useCallback, useMemo, useState } from 'react';
import { count, formatBytes } from '../../lib/format.ts';
import { forestOf, sumsOf, type Sums } from '../../lib/lineage.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { LineageFocus, LineageGraph } from '../../server/lineage.ts';
import { Empty, Failed, PageTitle, SkeletonRows } from '../display/Blocks.tsx';
import classes from './lineage.module.css';
import { LineageTree } from './LineageTree.tsx';

// Only a wide screen draws it: a phone need not load it.
const Canvas = dynamic(async () => (await import('./LineageCanvas.tsx')).LineageCanvas, {
  ssr: false,
  loading: () => (
    <Text size="sm" c="dimmed" p="md">
      Drawing it…
    </Text>
  ),
});

/** Who was cloned from whom, and who takes which space? */
export function LineagePage({ focus }: { focus: LineageFocus | null }) {
  const trpc = useTRPC();
  const { data, error, refetch } = useQuery(trpc.lineage.graph.queryOptions({ focus }));
  const focused = data?.nodes.find((node) => focus !== null && node.id === `${focus.type}:${focus.id}`)?.name;
  const title = (
    <PageTitle title={focused === undefined ? 'Lineage' : `Lineage of ${focused}`}>
      {focus === null ? null : (
        <Button size="sm" variant="default" component={Link} href="/lineage">
          Show everything
        </Button>
      )}
    </PageTitle>
  );
  if (error && !data)
    return (
      <>
        {title}
        <Failed error={error} retry={() => void refetch()} />
      </>
    );
  return (
    <>
      {title}
      {data === undefined ? (
        <SkeletonRows rows={8} />
      ) : data.nodes.length === 0 ? (
        <Nothing focused={focus !== null} />
      ) : (
        <Graph graph={data} focus={focus === null ? undefined : `${focus.type}:${focus.id}`} />
      )}
    </>
  );
}

function Nothing({ focused }: { focused: boolean }) {
  return focused ? (
    <Empty title="It stands alone">It is no clone, and nothing was cloned from it.</Empty>
  ) : (
    <Empty
      title="Nothing was cloned yet"
      action={
        <Button component={Link} href="/clone">
          New clone
        </Button>
      }
    >
      Templates, the bases that linked clones share, and every clone show here, with the space each really
      takes.
    </Empty>
  );
}

function Graph({ graph, focus }: { graph: LineageGraph; focus: string | undefined }) {
  const wide = useMediaQuery('(min-width: 62em)', false);
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const [active, setActive] = useState<string | undefined>(focus);
  const roots = useMemo(() => forestOf(graph.nodes), [graph.nodes]);
  const unfold = useCallback((parent: string) => setUnfolded((old) => new Set([...old, parent])), []);
  return (
    <>
      <Summary sums={sumsOf(graph.nodes)} graph={graph} />
      <Box className={classes['both'] ?? ''}>
        <LineageTree
          roots={roots}
          unfolded={unfolded}
          focus={focus}
          onUnfold={unfold}
          onActive={wide ? setActive : undefined}
        />
        {wide ? (
          <Canvas roots={roots} unfolded={unfolded} focus={focus} active={active} onUnfold={unfold} />
        ) : null}
      </Box>
    </>
  );
}

function Summary({ sums, graph }: { sums: Sums; graph: LineageGraph }) {
  const words = [
    `${count(sums.guests, 'guest')} ${sums.guests === 1 ? 'owns' : 'own'} ${formatBytes(sums.ownedBytes)}`,
    ...(sums.bases > 0
      ? [
          `${count(sums.bases, 'base')} ${sums.bases === 1 ? 'holds' : 'hold'} ${formatBytes(sums.sharedBytes)} once, for all who stand on ${sums.bases === 1 ? 'it' : 'them'}`,
        ]
      : []),
  ];
  return (
    <Group gap="xs" mb="sm">
      <Text size="sm" className="num" style={{ whiteSpace: 'normal' }}>
        {words.join(' · ')}
      </Text>
      {graph.unrelated > 0 ? (
        <Text size="sm" c="dimmed">
          {count(graph.unrelated, 'guest')} without clones {graph.unrelated === 1 ? 'is' : 'are'} not shown.
        </Text>
      ) : null}
      {graph.truncated ? (
        <Text size="sm" c="dimmed">
          There are more guests than fit here; look at one guest’s lineage from its page.
        </Text>
      ) : null}
    </Group>
  );
}
