import { Button } from '@mantine/core';
import Link from 'next/link';
import { Empty } from '../display/Blocks.tsx';

/** Nothing to clone from yet. */
export function NoSources() {
  return (
    <Empty
      title="There is nothing to clone yet"
      action={
        <Button component={Link} href="/templates?import=1">
          Import an image
        </Button>
      }
    >
      A clone is made from a template or from a guest. Import a disk image as a template; the sample template
      appears by itself at the first start.
    </Empty>
  );
}
