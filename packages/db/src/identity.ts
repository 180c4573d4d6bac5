/** Identities of guests: what agents say, who shares what must be unique, certificates. */
export { attestable, isAttestable, keepAttestation, type Attestable } from './attestation.ts';
export { keepSignatures, unsignedCertificates, type UnsignedCertificate } from './certificates.ts';
export { noteShared, sharedIdentities } from './shared-identity.ts';
