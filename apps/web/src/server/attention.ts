/** Guests that someone has to look at, as a condition on their rows: what `unproven` and `firstBootCode` of a view say. */
export const needsALook = {
  OR: [
    { identity: { path: ['verdict'], equals: 'mismatch' } },
    { identity: { path: ['verdict'], equals: 'silent' } },
    {
      AND: [
        { identity: { path: ['changed'], array_contains: ['first-boot-script'] } },
        { attested: { path: ['firstBoot'], gt: 0 } },
      ],
    },
  ],
};
