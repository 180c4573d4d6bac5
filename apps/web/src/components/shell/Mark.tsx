/** A branch off a trunk. */
export function Mark({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="7" fill="#4a3bc0" />
      <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round">
        <path d="M10 25V7" />
        <path d="M10 19c8 0 12-3 12-9" />
      </g>
      <circle cx="22" cy="8.5" r="2.6" fill="#fff" />
    </svg>
  );
}
