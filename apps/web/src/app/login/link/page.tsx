import { Button, Text } from '@mantine/core';
import type { Metadata } from 'next';
import { SignInFrame } from '../../../components/account/SignInFrame.tsx';

export const metadata: Metadata = { title: 'Sign in' };

/** Opening the link changes nothing, so that a preview of it can't use it up; pressing the button does. */
export default async function Page({
  searchParams,
}: {
  searchParams: Promise<{ token?: string | string[] }>;
}) {
  const { token } = await searchParams;
  return (
    <SignInFrame title="Sign in to Offshoot">
      <Text size="sm" c="dimmed" mb="md">
        This link signs you in once, as the administrator. Afterwards you can choose a password.
      </Text>
      <form method="post" action="/api/login-link">
        <input type="hidden" name="token" value={typeof token === 'string' ? token : ''} />
        <Button type="submit" fullWidth>
          Sign in
        </Button>
      </form>
    </SignInFrame>
  );
}
