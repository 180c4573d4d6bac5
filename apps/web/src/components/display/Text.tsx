'use client';

import { Badge, CopyButton, Group, Text, Tooltip, UnstyledButton } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { formatAgo, formatExact } from '../../lib/format.ts';
import { useNow } from '../../lib/now.ts';

/** "2 min ago", exact on hover. */
export function Ago({ at }: { at: string | null }) {
  const now = useNow();
  if (at === null) return <span>never</span>;
  const date = new Date(at);
  return (
    <Tooltip label={formatExact(date)} openDelay={300}>
      <time dateTime={at} className="num">
        {now === undefined ? ' ' : formatAgo(date, now)}
      </time>
    </Tooltip>
  );
}

/** A value to take along: an id, an address, a digest. */
export function Copyable({ value, shown }: { value: string; shown?: string }) {
  return (
    <CopyButton value={value}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : `Copy ${value}`} openDelay={300} multiline maw={420}>
          <UnstyledButton onClick={copy} aria-label={`Copy ${value}`} style={{ maxWidth: '100%' }}>
            <Group gap={6} wrap="nowrap" maw="100%">
              <span className="mono" style={{ overflowWrap: 'anywhere', minWidth: 0, textAlign: 'left' }}>
                {shown ?? value}
              </span>
              {copied ? (
                <IconCheck size={14} color="var(--state-good)" aria-hidden />
              ) : (
                <IconCopy
                  size={14}
                  style={{ flexShrink: 0 }}
                  color="var(--mantine-color-dimmed)"
                  aria-hidden
                />
              )}
            </Group>
          </UnstyledButton>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** Marks what only a simulated driver did. */
export function Simulated() {
  return (
    <Tooltip label="A simulated host: nothing here is a real machine.">
      <Badge
        variant="outline"
        color="gray"
        size="sm"
        radius="sm"
        tt="none"
        style={{
          color: 'var(--mantine-color-dimmed)',
          borderColor: 'var(--line)',
          fontWeight: 500,
          flexShrink: 0,
        }}
      >
        simulated
      </Badge>
    </Tooltip>
  );
}

export const Quiet = ({ children }: { children: React.ReactNode }) => (
  <Text span inherit c="dimmed">
    {children}
  </Text>
);
