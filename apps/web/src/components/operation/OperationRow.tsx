'use client';

import { Box, Group, Progress, Text } from '@mantine/core';
import { isEnded } from '@offshoot/clone-core/contract';
import Link from 'next/link';
import { formatDuration } from '../../lib/format.ts';
import { useNow } from '../../lib/now.ts';
import { fractionOf, operationTitle, secondsOf, statusLine } from '../../lib/operation.ts';
import type { OperationView } from '../../server/views/operation.ts';
import { OperationStateLabel, operationTone, toneColor } from '../display/State.tsx';
import { Ago, Simulated } from '../display/Text.tsx';
import classes from './row.module.css';

/** Where, and what it does or waits for. */
function rowLine(operation: OperationView): string {
  const { name } = operation.host;
  const status = statusLine(operation);
  return status === '' ? name : operation.state === 'queued' ? status : `${name} · ${status}`;
}

/** One operation in a list. Always two lines high, so that nothing jumps as it goes on. */
export function OperationRow({ operation }: { operation: OperationView }) {
  const now = useNow();
  const fraction = fractionOf(operation);
  const seconds = secondsOf(operation, now ?? Date.parse(operation.startedAt ?? operation.createdAt));
  const ended = isEnded(operation.state);
  const line = rowLine(operation);
  return (
    <Box className={`row ${classes['row']}`}>
      <Text size="sm" component="span">
        <OperationStateLabel state={operation.state} />
      </Text>
      <Box style={{ minWidth: 0 }}>
        <Group gap={8} wrap="nowrap">
          <Link className="thing" href={`/operations/${operation.id}`} style={{ fontSize: 14 }}>
            {operationTitle(operation)}
          </Link>
          {operation.host.simulated ? <Simulated /> : null}
        </Group>
        <Text size="xs" c="dimmed" className="num" truncate title={line}>
          {line}
        </Text>
      </Box>
      <Box className={classes['bar']}>
        {ended || fraction === undefined ? null : (
          <Progress
            value={fraction * 100}
            size={6}
            color={toneColor(operationTone(operation.state))}
            aria-label={`${operationTitle(operation)}: ${Math.round(fraction * 100)} %`}
          />
        )}
      </Box>
      <Text size="xs" c="dimmed" ta="right" className="num" component="div">
        <span className={classes['took']}>{seconds === undefined ? '' : formatDuration(seconds)}</span>
        <Ago at={operation.finishedAt ?? operation.createdAt} />
      </Text>
    </Box>
  );
}
