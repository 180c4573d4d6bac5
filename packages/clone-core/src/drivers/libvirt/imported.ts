/** The definition that guests of an imported image get: a sensible q35 machine with virtio devices. */
import type { OperationRequest } from '../../driver.ts';

export interface Surroundings {
  accelerator: 'kvm' | 'tcg';
  /** Undefined: QEMU's own user network. */
  network: string | undefined;
  uuid: string;
  mac: string;
  firmware: { code: string; vars: string } | undefined;
  /** How many. */
  disks: number;
}

/** Memory for translated code, MiB: QEMU's default of 1 GiB per guest is too much for small ones. */
const TCG_CACHE = 64;

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
};
const text = (value: string): string => value.replace(/[&<>'"]/g, (found) => escapes[found] ?? found);

const disksOf = (count: number): string =>
  Array.from(
    { length: count },
    (_disk, index) => `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/set-by-clone${index === 0 ? '' : `-${index + 1}`}.qcow2'/>
      <target dev='vd${String.fromCodePoint(97 + index)}' bus='virtio'/>
    </disk>`,
  ).join('\n');

export function importedDefinition(
  request: Extract<OperationRequest, { kind: 'import' }>,
  around: Surroundings,
): string {
  const tcg = around.accelerator === 'tcg';
  const nic =
    around.network === undefined
      ? "<interface type='user'>"
      : `<interface type='network'>\n      <source network='${text(around.network)}'/>`;
  const firmware = around.firmware
    ? `\n    <loader readonly='yes' type='pflash'>${text(around.firmware.code)}</loader>\n    <nvram template='${text(around.firmware.vars)}'>/set-by-clone_VARS.fd</nvram>`
    : '';
  return `<domain type='${tcg ? 'qemu' : 'kvm'}'>
  <name>imported</name>
  <uuid>${around.uuid}</uuid>
  <description>${text(request.osName)}, imported as ${text(request.label)}</description>
  <memory unit='KiB'>${request.memoryMiB * 1024}</memory>
  <currentMemory unit='KiB'>${request.memoryMiB * 1024}</currentMemory>
  <vcpu placement='static'>${request.vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>${firmware}
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>${tcg ? `\n    <tcg>\n      <tb-cache unit='MiB'>${TCG_CACHE}</tb-cache>\n    </tcg>` : ''}
  </features>
  <cpu mode='${tcg ? 'maximum' : 'host-model'}'/>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
${disksOf(around.disks)}
    ${nic}
      <mac address='${around.mac}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'>
      <target port='0'/>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video>
      <model type='vga'/>
    </video>
    <memballoon model='virtio'/>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
`;
}
