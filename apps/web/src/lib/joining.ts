/** What is pasted on a machine that joins, in its three ways. */

export interface JoinParts {
  portal: string;
  token: string;
  /** sha256 of the worker's program, hex. */
  digest: string;
}

const FILE = 'offshoot-worker.mjs';
const PROGRAM = `/usr/local/lib/offshoot/${FILE}`;

/** Fetches the worker and holds it against the digest that this page came with. */
const download = ({ portal, digest }: JoinParts): string =>
  `curl -fsSo ${FILE} ${portal}/api/join/worker && echo "${digest}  ${FILE}" | sha256sum -c --quiet`;

/** Joins, and serves for as long as it runs. */
export const oneLine = (parts: JoinParts): string =>
  `${download(parts)} && sudo node ${FILE} join ${parts.portal} ${parts.token} --run`;

export const unit = (): string => `[Unit]
Description=Offshoot worker
Wants=network-online.target
After=network-online.target libvirtd.service virtqemud.service

[Service]
ExecStart=/usr/bin/env node ${PROGRAM} run
Restart=always
RestartSec=5
# The portal refuses this worker: it was revoked, or is of a version that does not fit.
RestartPreventExitStatus=78
KillMode=mixed
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
`;

/** Joins, then installs a unit that serves from every start of the machine on. */
export const withSystemd = (parts: JoinParts): string =>
  [
    download(parts),
    `sudo install -D -m 755 ${FILE} ${PROGRAM}`,
    `sudo node ${PROGRAM} join ${parts.portal} ${parts.token}`,
    `sudo tee /etc/systemd/system/offshoot-worker.service >/dev/null <<'UNIT'\n${unit()}UNIT`,
    'sudo systemctl enable --now offshoot-worker',
  ].join('\n');

/** Paths are the same inside and outside: the machine's own libvirt opens the disks. */
const CONTAINER = [
  '--network host',
  '--cap-add SYS_ADMIN --device /dev/fuse --security-opt apparmor:unconfined',
  '-v /run/libvirt:/run/libvirt -v /etc/machine-id:/etc/machine-id:ro',
  '-v /etc/offshoot:/etc/offshoot -v /var/lib/offshoot:/var/lib/offshoot',
  '-v /var/lib/libvirt/images:/var/lib/libvirt/images -v /var/lib/libvirt/qemu/nvram:/var/lib/libvirt/qemu/nvram',
].join(' \\\n  ');

/** The image is built from the portal's sources; it is in no registry. */
export const withContainer = ({ portal, token }: JoinParts): string =>
  [
    'sudo docker build --target worker -f docker/Dockerfile -t offshoot-worker .',
    `sudo docker run --rm ${CONTAINER} \\\n  offshoot-worker node apps/worker/dist/main.js join ${portal} ${token}`,
    `sudo docker run -d --name offshoot-worker --init --restart unless-stopped --stop-timeout 30 ${CONTAINER} \\\n  offshoot-worker node apps/worker/dist/main.js run`,
  ].join('\n');
