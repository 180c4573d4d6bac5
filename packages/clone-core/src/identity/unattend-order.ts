/**
 * The settings of answer files that are used here, in the order in which Microsoft's reference lists them. Microsoft publishes no
 * schema file; the order of its reference and its examples is what can be held to.
 */
import { DOMParser, type Element } from '@xmldom/xmldom';

export const UNATTEND = 'urn:schemas-microsoft-com:unattend';
export const WCM = 'http://schemas.microsoft.com/WMIConfig/2002/State';

const REFERENCE = 'https://learn.microsoft.com/en-us/windows-hardware/customize/desktop/unattend/';

interface Order {
  /** Where it is documented. */
  source: string;
  children: readonly string[];
}

/** Path of an element, from its component on, to the children it may have. A setting with text has none. */
export const unattendOrder: Readonly<Record<string, Order>> = {
  'Microsoft-Windows-Shell-Setup': {
    source: `${REFERENCE}microsoft-windows-shell-setup`,
    children: [
      'AutoLogon',
      'BluetoothTaskbarIconEnabled',
      'ComputerName',
      'ConvertibleSlateModePromptPreference',
      'CopyProfile',
      'DisableAutoDaylightTimeSet',
      'Display',
      'FirstLogonCommands',
      'FolderLocations',
      'LogonCommands',
      'NotificationArea',
      'OEMInformation',
      'OEMName',
      'OfflineUserAccounts',
      'OOBE',
      'ProductKey',
      'RegisteredOrganization',
      'RegisteredOwner',
      'ShowPowerButtonOnStartScreen',
      'SignInMode',
      'StartTiles',
      'TaskbarLinks',
      'Themes',
      'TimeZone',
      'UserAccounts',
      'VisualEffects',
      'WindowsFeatures',
    ],
  },
  'Microsoft-Windows-Shell-Setup/OOBE': {
    source: `${REFERENCE}microsoft-windows-shell-setup-oobe`,
    children: [
      'HideEULAPage',
      'HideLocalAccountScreen',
      'HideOEMRegistrationScreen',
      'HideOnlineAccountScreens',
      'HideWirelessSetupInOOBE',
      'NetworkLocation',
      'OEMAppID',
      'ProtectYourPC',
      'UnattendEnableRetailDemo',
      'VMModeOptimizations',
    ],
  },
  'Microsoft-Windows-Shell-Setup/UserAccounts': {
    source: `${REFERENCE}microsoft-windows-shell-setup-useraccounts`,
    children: ['AdministratorPassword', 'DomainAccounts', 'LocalAccounts'],
  },
  'Microsoft-Windows-Shell-Setup/UserAccounts/AdministratorPassword': {
    // The table says PlainText first, every example Value first.
    source: `${REFERENCE}microsoft-windows-shell-setup-useraccounts-administratorpassword`,
    children: ['Value', 'PlainText'],
  },
  'Microsoft-Windows-UnattendedJoin': {
    source: `${REFERENCE}microsoft-windows-unattendedjoin`,
    children: ['Identification'],
  },
  'Microsoft-Windows-UnattendedJoin/Identification': {
    source: `${REFERENCE}microsoft-windows-unattendedjoin-identification`,
    children: [
      'Credentials',
      'DebugJoin',
      'DebugJoinOnlyOnThisError',
      'JoinDomain',
      'JoinWorkgroup',
      'MachineObjectOU',
      'MachinePassword',
      'Provisioning',
      'TimeoutPeriodInMinutes',
      'UnsecureJoin',
    ],
  },
  'Microsoft-Windows-UnattendedJoin/Identification/Credentials': {
    source: `${REFERENCE}microsoft-windows-unattendedjoin-identification-credentials`,
    children: ['Domain', 'Password', 'Username'],
  },
};

/** Passes in the order in which Windows runs them, and the components used in each. */
const passes: readonly [string, readonly string[]][] = [
  ['specialize', ['Microsoft-Windows-Shell-Setup', 'Microsoft-Windows-UnattendedJoin']],
  ['oobeSystem', ['Microsoft-Windows-Shell-Setup']],
];

/** What is wrong with an answer file, as sentences; empty: each element is known, where it belongs and not empty. */
export function checkUnattendOrder(xml: string): string[] {
  let root: Element | null;
  try {
    root = new DOMParser({
      onError: (_level, message) => {
        throw new Error(message);
      },
    }).parseFromString(xml, 'text/xml').documentElement;
  } catch (cause) {
    return [`It is no XML: ${cause instanceof Error ? cause.message : String(cause)}`];
  }
  if (root?.localName !== 'unattend' || root.namespaceURI !== UNATTEND)
    return [`Its root is no unattend of ${UNATTEND}.`];
  const settings = elements(root);
  return [
    ...inOrder(
      settings.map((each) => each.getAttribute('pass') ?? ''),
      passes.map(([name]) => name),
      'unattend',
    ),
    ...settings.flatMap((each) => checkPass(each)),
  ];
}

function checkPass(settings: Element): string[] {
  const name = settings.getAttribute('pass') ?? '';
  const known = passes.find(([pass]) => pass === name)?.[1] ?? [];
  const components = elements(settings);
  const names = components.map((each) => each.getAttribute('name') ?? '');
  return [
    ...inOrder(names, known, name),
    ...components.flatMap((each) =>
      ['processorArchitecture', 'publicKeyToken', 'language', 'versionScope']
        .filter((key) => !each.getAttribute(key))
        .map((key) => `A component of ${name} has no ${key}.`),
    ),
    ...components.flatMap((each) => checkElement(each, each.getAttribute('name') ?? '')),
  ];
}

function checkElement(element: Element, path: string): string[] {
  const children = elements(element);
  const order = unattendOrder[path];
  if (!order)
    return [
      ...(children.length > 0 ? [`${path} has settings below it that are not documented here.`] : []),
      ...((element.textContent ?? '').trim() === '' ? [`${path} is empty.`] : []),
    ];
  return [
    ...(children.length === 0 ? [`${path} is empty.`] : []),
    ...inOrder(
      children.map((each) => each.tagName),
      order.children,
      path,
    ),
    ...children.flatMap((each) => checkElement(each, `${path}/${each.tagName}`)),
  ];
}

function inOrder(found: readonly string[], order: readonly string[], where: string): string[] {
  return found.flatMap((name, i) => {
    const at = order.indexOf(name);
    if (at < 0) return [`${where} knows no ${name}.`];
    const before = found[i - 1];
    if (before !== undefined && order.indexOf(before) >= at)
      return [`${where}: ${name} comes before ${before}.`];
    return [];
  });
}

function elements(parent: Element): Element[] {
  const found: Element[] = [];
  for (let node = parent.firstChild; node; node = node.nextSibling)
    if (node.nodeType === 1) found.push(node as Element);
  return found;
}
