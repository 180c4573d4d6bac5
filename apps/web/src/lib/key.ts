'use client';

import { useCallback, useState } from 'react';

/**
 * A random UUID. Not `crypto.randomUUID`, which browsers offer to https and localhost only: the portal also works
 * over plain http in a lab.
 */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** An idempotency key for one opening of a form or dialog, and the way to take a new one. */
export function useIdempotencyKey(): [string, () => void] {
  const [key, setKey] = useState(randomKey);
  const renew = useCallback(() => setKey(randomKey()), []);
  return [key, renew];
}
