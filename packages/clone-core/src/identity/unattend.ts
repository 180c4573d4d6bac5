/**
 * unattend.xml for a Windows that was generalized with sysprep: read from the root of a CD at its first start, in the specialize
 * and oobeSystem passes. Windows looks into %WINDIR%\Panther before removable drives
 * (https://learn.microsoft.com/en-us/windows-hardware/manufacture/desktop/windows-setup-automation-overview), so an answer file
 * that sysprep was given stays in force. Never read by a Windows here: none was at hand; `checkUnattendOrder` holds it against the
 * documentation.
 */
import { DOMImplementation, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import type { DecidedIdentity, IdentityOptions } from './contract.ts';
import { hostnameOf, computerNameOf } from './hostnames.ts';
import { UNATTEND, WCM } from './unattend-order.ts';

export { checkUnattendOrder } from './unattend-order.ts';

/** Opened just before the file is written, and never part of a plan. */
export interface UnattendSecrets {
  administratorPassword?: string;
  joinPassword?: string;
}

export interface UnattendQuestion {
  decided: DecidedIdentity;
  options: IdentityOptions;
  /** Of the guest's Windows. */
  architecture?: 'amd64' | 'arm64' | 'x86';
}

/** In the root of the drive. */
export const UNATTEND_FILE = 'Unattend.xml';

/** A setting: its text, or settings below it. Undefined ones are left out: Windows takes no empty elements. */
type Setting = [name: string, value: string | Setting[] | undefined, action?: 'add'];

/**
 * Writes the answer file: computer name, product key and domain in specialize; administrator, users, time zone and the pages that
 * a person would click through in oobeSystem. Without an administrator's password Windows asks for one at its console.
 */
export function unattendXml(question: UnattendQuestion, secrets: UnattendSecrets): string {
  const { decided, options, architecture = 'amd64' } = question;
  const windows = options.windows;
  const computerName = decided.computerName ?? computerNameOf(hostnameOf(decided.hostname));
  const join = windows?.join;
  const document = new DOMImplementation().createDocument(UNATTEND, 'unattend', null);
  const root = document.documentElement;
  if (!root) return '';
  root.setAttributeNS('http://www.w3.org/2000/xmlns/', 'xmlns:wcm', WCM);
  const specialize = pass(document, root, 'specialize');
  component(document, specialize, 'Microsoft-Windows-Shell-Setup', architecture, [
    ['ComputerName', computerName],
    ['ProductKey', windows?.productKey],
    ['TimeZone', windows?.timezone],
  ]);
  if (join)
    component(document, specialize, 'Microsoft-Windows-UnattendedJoin', architecture, [
      [
        'Identification',
        [
          [
            'Credentials',
            [
              ['Domain', join.domain],
              ['Password', secrets.joinPassword],
              ['Username', join.user],
            ],
          ],
          ['JoinDomain', join.domain],
          ['MachineObjectOU', join.organizationalUnit],
        ],
      ],
    ]);
  const oobe = pass(document, root, 'oobeSystem');
  component(document, oobe, 'Microsoft-Windows-Shell-Setup', architecture, [
    [
      'OOBE',
      [
        ['HideEULAPage', 'true'],
        ['HideLocalAccountScreen', secrets.administratorPassword === undefined ? undefined : 'true'],
        ['HideOEMRegistrationScreen', 'true'],
        ['HideOnlineAccountScreens', 'true'],
        ['HideWirelessSetupInOOBE', 'true'],
        // Only recommended protection, decided later by whoever runs it: 3 asks nothing and changes nothing.
        ['ProtectYourPC', '3'],
      ],
    ],
    ['TimeZone', windows?.timezone],
    ['UserAccounts', accounts(secrets)],
  ]);
  return `<?xml version="1.0" encoding="utf-8"?>\n${new XMLSerializer().serializeToString(document)}\n`;
}

function accounts(secrets: UnattendSecrets): Setting[] | undefined {
  if (secrets.administratorPassword === undefined) return undefined;
  return [
    [
      'AdministratorPassword',
      [
        ['Value', hidden(secrets.administratorPassword, 'AdministratorPassword')],
        ['PlainText', 'false'],
      ],
    ],
  ];
}

/**
 * Not encrypted, only out of sight: base64 of the UTF-16 text with the setting's name after it
 * (https://learn.microsoft.com/en-us/windows-hardware/customize/desktop/wsim/hide-sensitive-data-in-an-answer-file).
 */
const hidden = (password: string, setting: string): string =>
  Buffer.from(password + setting, 'utf16le').toString('base64');

function pass(document: Document, root: Element, name: string): Element {
  const settings = document.createElementNS(UNATTEND, 'settings');
  settings.setAttribute('pass', name);
  root.appendChild(settings);
  return settings;
}

function component(
  document: Document,
  parent: Element,
  name: string,
  architecture: string,
  settings: Setting[],
): void {
  const element = document.createElementNS(UNATTEND, 'component');
  const attributes = {
    name,
    processorArchitecture: architecture,
    publicKeyToken: '31bf3856ad364e35',
    language: 'neutral',
    versionScope: 'nonSxS',
  };
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (append(document, element, settings)) parent.appendChild(element);
}

/** Whether anything was put in. */
function append(document: Document, parent: Element, settings: readonly Setting[]): boolean {
  let any = false;
  for (const [name, value, action] of settings) {
    if (value === undefined || value === '') continue;
    const element = document.createElementNS(UNATTEND, name);
    if (action !== undefined) element.setAttributeNS(WCM, 'wcm:action', action);
    if (typeof value === 'string') element.appendChild(document.createTextNode(value));
    else if (!append(document, element, value)) continue;
    parent.appendChild(element);
    any = true;
  }
  return any;
}
