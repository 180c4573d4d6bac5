/**
 * What both ends of a connection between workers agree on: TLS 1.3 (RFC 8446), each end with the certificate of its key.
 * The handshake proves that each has its key; whose key it is, the portal's directory says, no authority.
 */
import type { TLSSocket } from 'node:tls';
import { publicText, type PeerKey } from './key.ts';

/** What a connection may ask for, as its protocol (ALPN, RFC 7301): files of bases, or to take a guest in. */
export const peerServices = ['offshoot-bases', 'offshoot-guests'] as const;
export type PeerService = (typeof peerServices)[number];
/** Asks for nothing but an answer. */
export const ALIVE = 'offshoot-alive';

/** First byte that the side that was called says. */
export const WELCOME = 1;
export const UNKNOWN = 0;

/** To connect, to prove both keys, and to be let in, milliseconds. */
export const CONNECT_MS = 3000;
/** How often a connection on which nothing comes is looked at, milliseconds. */
export const KEEPALIVE_MS = 2000;

export const securedBy = ({ private: key, certificate: cert }: PeerKey) => ({
  key,
  cert,
  minVersion: 'TLSv1.3' as const,
  maxVersion: 'TLSv1.3' as const,
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384',
  sigalgs: 'ed25519',
  // No authority signs these: the key itself is compared.
  rejectUnauthorized: false,
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
});

/** The key that the other side proved to have, as in an authorized_keys file; undefined: none, or one of another type. */
export function provenKey(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate && publicText(certificate.publicKey);
}
