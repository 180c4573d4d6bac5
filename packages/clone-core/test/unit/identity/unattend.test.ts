import { describe, expect, it } from 'vitest';
import { checkUnattendOrder, unattendXml } from '../../../src/identity/unattend.ts';
import { unattendOrder } from '../../../src/identity/unattend-order.ts';
import { decided, optionsOf } from './facts.ts';

const full = optionsOf({
  windows: {
    productKey: 'AAAAA-BBBBB-CCCCC-DDDDD-EEEEE',
    timezone: 'W. Europe Standard Time',
    administratorPassword: 'sealed:v1:abc',
    join: {
      domain: 'ad.example.org',
      user: 'joiner',
      password: 'sealed:v1:def',
      organizationalUnit: 'OU=Seats & <Labs>,DC=ad,DC=example,DC=org',
    },
  },
});
const secrets = { administratorPassword: 'p<w&"d', joinPassword: 'j]]>w' };

describe('answer files', () => {
  it.each([
    ['plain', optionsOf(), {}],
    ['everything', full, secrets],
  ])('%s: in the documented order', async (name, options, given) => {
    const xml = unattendXml({ decided: { ...decided, computerName: 'WEB-07' }, options }, given);
    expect(checkUnattendOrder(xml)).toEqual([]);
    await expect(xml).toMatchFileSnapshot(`golden/unattend-${name}.xml`);
  });

  it('hides a password as Microsoft’s example does', () => {
    const xml = unattendXml({ decided, options: optionsOf() }, { administratorPassword: 'pw' });
    // microsoft-windows-shell-setup-useraccounts-administratorpassword, “XML Example”
    expect(xml).toContain('cAB3AEEAZABtAGkAbgBpAHMAdAByAGEAdABvAHIAUABhAHMAcwB3AG8AcgBkAA==');
  });

  it('holds no secret but those given when it is written', () => {
    const xml = unattendXml({ decided, options: full }, {});
    expect(xml).not.toMatch(/sealed:|Password>/);
    expect(checkUnattendOrder(xml)).toEqual([]);
  });

  it.each([
    ['<a/>', /root/],
    ['<unattend', /no XML/],
    ['oobe first', /specialize comes before oobeSystem/],
    ['name after time zone', /ComputerName comes before TimeZone/],
    ['empty', /TimeZone is empty/],
    ['unknown', /knows no Hostname/],
    ['twice', /TimeZone comes before TimeZone/],
    ['no token', /no publicKeyToken/],
  ])('finds what is wrong: %s', (what, problem) => {
    expect(checkUnattendOrder(wrong[what] ?? what).join(' ')).toMatch(problem);
  });

  it('names a page for every order', () => {
    for (const { source } of Object.values(unattendOrder))
      expect(source).toMatch(/^https:\/\/learn\.microsoft\.com\//);
  });
});

const file = (...settings: string[]): string =>
  `<unattend xmlns="urn:schemas-microsoft-com:unattend">${settings.join('')}</unattend>`;
const pass = (name: string, content: string, token = ' publicKeyToken="31bf3856ad364e35"'): string =>
  `<settings pass="${name}"><component name="Microsoft-Windows-Shell-Setup" processorArchitecture="amd64"${token} language="neutral" versionScope="nonSxS">${content}</component></settings>`;
const zone = '<TimeZone>UTC</TimeZone>';
const wrong: Record<string, string> = {
  'oobe first': file(pass('oobeSystem', zone), pass('specialize', zone)),
  'name after time zone': file(pass('specialize', `${zone}<ComputerName>x</ComputerName>`)),
  empty: file(pass('specialize', '<TimeZone/>')),
  unknown: file(pass('specialize', '<Hostname>x</Hostname>')),
  twice: file(pass('specialize', zone + zone)),
  'no token': file(pass('specialize', zone, '')),
};
