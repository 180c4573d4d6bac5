'use client';

import {
  ActionIcon,
  AppShell,
  Box,
  Burger,
  Button,
  Group,
  Menu,
  NavLink,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { spotlight } from '@mantine/spotlight';
import {
  IconKeyboard,
  IconLogout,
  IconMoon,
  IconPlus,
  IconRefresh,
  IconSearch,
  IconSun,
  IconUser,
} from '@tabler/icons-react';
import Link from 'next/link';
import { usePathname } from 'next/navigation';
import type { ReactNode } from 'react';
import { signOut } from '../../lib/session.ts';
import { HelpSheet, Keyboard } from './Keyboard.tsx';
import { useConnection } from './Live.tsx';
import { Mark } from './Mark.tsx';
import { pages } from './pages.ts';
import { Palette } from './Palette.tsx';

/** Everything around a page: where one can go, search, the one main action, who one is. */
export function Frame({ user, children }: { user: { name: string; email: string }; children: ReactNode }) {
  const [open, { toggle, close }] = useDisclosure(false);
  const [help, helpSheet] = useDisclosure(false);
  const path = usePathname();
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 208, breakpoint: 'sm', collapsed: { mobile: !open } }}
      padding={{ base: 'md', sm: 'lg' }}
    >
      <a className="skip" href="#content">
        Skip to content
      </a>
      <AppShell.Header>
        <Header open={open} toggle={toggle} user={user} onHelp={helpSheet.open} />
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages" component="nav">
        {pages.map(({ href, label, icon: Icon }) => {
          const here = href === '/' ? path === '/' : path.startsWith(href);
          return (
            <NavLink
              key={href}
              component={Link}
              href={href}
              label={label}
              active={here}
              onClick={close}
              leftSection={<Icon size={17} stroke={1.7} aria-hidden />}
              color="gray"
              autoContrast
              variant="light"
              {...(here ? { 'aria-current': 'page' as const } : {})}
              style={{ borderRadius: 'var(--mantine-radius-sm)', color: 'var(--mantine-color-text)' }}
            />
          );
        })}
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} style={{ outline: 'none' }}>
        <Box maw={1240} mx="auto">
          {children}
        </Box>
      </AppShell.Main>
      <Palette />
      <Keyboard onHelp={helpSheet.open} />
      <HelpSheet opened={help} onClose={helpSheet.close} />
    </AppShell>
  );
}

function Header({
  open,
  toggle,
  user,
  onHelp,
}: {
  open: boolean;
  toggle: () => void;
  user: { name: string; email: string };
  onHelp: () => void;
}) {
  return (
    <Group h="100%" px="md" justify="space-between" wrap="nowrap" gap="sm">
      <Group gap="xs" wrap="nowrap">
        <Burger
          opened={open}
          onClick={toggle}
          hiddenFrom="sm"
          size="sm"
          aria-label={open ? 'Close the menu' : 'Open the menu'}
        />
        <Link
          href="/"
          aria-label="Offshoot, overview"
          className="thing"
          style={{ display: 'flex', alignItems: 'center', gap: 8, textDecoration: 'none' }}
        >
          <Mark />
          <Text span fw={650} visibleFrom="xs">
            Offshoot
          </Text>
        </Link>
        <Reconnecting />
      </Group>
      <Group gap="xs" wrap="nowrap">
        <UnstyledButton
          visibleFrom="sm"
          onClick={() => spotlight.open()}
          px="sm"
          h={32}
          w={220}
          className="panel"
          style={{ color: 'var(--mantine-color-dimmed)', fontSize: 13 }}
        >
          <Group gap={8} wrap="nowrap" justify="space-between">
            <Group gap={8} wrap="nowrap">
              <IconSearch size={15} aria-hidden /> Find anything
            </Group>
            <span className="mono">Ctrl K</span>
          </Group>
        </UnstyledButton>
        <ActionIcon
          hiddenFrom="sm"
          variant="subtle"
          color="gray"
          size="lg"
          aria-label="Find anything"
          onClick={() => spotlight.open()}
        >
          <IconSearch size={18} />
        </ActionIcon>
        <Button
          component={Link}
          href="/clone"
          size="xs"
          h={32}
          leftSection={<IconPlus size={15} aria-hidden />}
          aria-keyshortcuts="c"
        >
          New clone
        </Button>
        <UserMenu user={user} onHelp={onHelp} />
      </Group>
    </Group>
  );
}

function UserMenu({ user, onHelp }: { user: { name: string; email: string }; onHelp: () => void }) {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: true });
  return (
    <Menu position="bottom-end" width={220}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`Account: ${user.name}`}>
          <IconUser size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{user.email}</Menu.Label>
        <Menu.Item component={Link} href="/account" leftSection={<IconUser size={15} />}>
          Account
        </Menu.Item>
        <Menu.Item
          leftSection={scheme === 'dark' ? <IconSun size={15} /> : <IconMoon size={15} />}
          onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}
        >
          {scheme === 'dark' ? 'Light colours' : 'Dark colours'}
        </Menu.Item>
        <Menu.Item leftSection={<IconKeyboard size={15} />} onClick={onHelp}>
          Keyboard
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={15} />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Reconnecting() {
  const connection = useConnection();
  if (connection === 'live') return null;
  return (
    <Tooltip label="What you see may be a little old. It catches up by itself.">
      <Group
        gap={6}
        wrap="nowrap"
        component="output"
        style={{ color: 'var(--state-attention)', fontSize: 13 }}
      >
        <IconRefresh size={15} className="turning" aria-hidden /> <span>Reconnecting…</span>
      </Group>
    </Tooltip>
  );
}
