'use client';

import { Box, Collapse, UnstyledButton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconChevronRight } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useSubscription } from '@trpc/tanstack-react-query';
import { useEffect, useRef, useState } from 'react';
import { formatClock } from '../../lib/format.ts';
import { useTRPC } from '../../lib/trpc.ts';
import type { LogLine } from '../../server/operations.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { isEnded } from '@offshoot/clone-core/contract';

/** The log, closed until wanted; open, it follows. */
export function OperationLog({ operation }: { operation: OperationView }) {
  const [opened, { toggle }] = useDisclosure(operation.state === 'failed');
  return (
    <Box className="panel">
      <UnstyledButton
        onClick={toggle}
        aria-expanded={opened}
        px={14}
        py={10}
        w="100%"
        style={{ display: 'flex', alignItems: 'center', gap: 8, fontSize: 14 }}
      >
        <IconChevronRight size={16} style={{ transform: opened ? 'rotate(90deg)' : undefined }} aria-hidden />{' '}
        Log
      </UnstyledButton>
      <Collapse expanded={opened}>
        {opened ? <Lines id={operation.id} live={!isEnded(operation.state)} /> : null}
      </Collapse>
    </Box>
  );
}

function Lines({ id, live }: { id: string; live: boolean }) {
  const trpc = useTRPC();
  const { data } = useQuery({ ...trpc.operation.log.queryOptions({ id }), staleTime: 0 });
  const [more, setMore] = useState<LogLine[]>([]);
  const last = data?.at(-1)?.id ?? '0';
  const box = useRef<HTMLDivElement>(null);
  useSubscription(
    trpc.operation.onEvent.subscriptionOptions(
      { operationId: id, lastEventId: last },
      {
        enabled: live && data !== undefined,
        onData: ({ data: event }) => {
          const { data: news } = event;
          if (news.type === 'log')
            setMore((lines) => [
              ...lines,
              { id: event.id, at: event.at, index: news.index, line: news.line },
            ]);
        },
      },
    ),
  );
  const seen = BigInt(last);
  const lines = [...(data ?? []), ...more.filter((line) => BigInt(line.id) > seen)];
  const length = lines.length;
  useEffect(() => {
    const element = box.current;
    if (length > 0 && element && element.scrollHeight - element.scrollTop - element.clientHeight < 120)
      element.scrollTop = element.scrollHeight;
    // Follows when a line came, not at every rendering.
    // oxlint-disable-next-line react/exhaustive-effect-dependencies -- the number of lines is what to react to
  }, [length]);
  return (
    <Box
      ref={box}
      tabIndex={0}
      role="log"
      aria-label="Log"
      px={14}
      pb={12}
      mah={340}
      style={{ overflow: 'auto', whiteSpace: 'pre-wrap', fontSize: 12.5, lineHeight: 1.6 }}
      className="mono"
    >
      {data !== undefined && length === 0
        ? 'It has logged nothing yet.'
        : lines.map((line) => (
            <div key={line.id}>
              {formatClock(new Date(line.at))} {line.line}
            </div>
          ))}
    </Box>
  );
}
