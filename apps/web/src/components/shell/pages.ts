import {
  IconActivity,
  IconBinaryTree2,
  IconDeviceDesktop,
  IconLayoutDashboard,
  IconServer,
  IconStack2,
} from '@tabler/icons-react';

/** Where one can go; `key` after `g` goes there. */
export const pages = [
  { href: '/', label: 'Overview', icon: IconLayoutDashboard, key: 'o' },
  { href: '/guests', label: 'Guests', icon: IconDeviceDesktop, key: 'g' },
  { href: '/templates', label: 'Templates', icon: IconStack2, key: 't' },
  { href: '/lineage', label: 'Lineage', icon: IconBinaryTree2, key: 'l' },
  { href: '/operations', label: 'Operations', icon: IconActivity, key: 'p' },
  { href: '/hosts', label: 'Hosts', icon: IconServer, key: 'h' },
] as const;
