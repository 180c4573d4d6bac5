/** How numbers and times read, in one place. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Bytes in IEC units with about three significant digits: "1.5 GiB", "812 MiB", "0 B". */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–';
  let value = bytes;
  let unit = 0;
  // 1023.5 would round to "1024": the next unit reads better.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text =
    unit === 0 || value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? trim(value.toFixed(1))
        : trim(value.toFixed(unit > 1 ? 2 : 1));
  return `${text} ${UNITS[unit] ?? 'B'}`;
}

/** Bytes per second: "812 MiB/s". */
export const formatRate = (bytesPerSecond: number): string => `${formatBytes(bytesPerSecond)}/s`;

/** Both in the unit of the larger, so that they compare at a glance: "1.1 / 1.7 GiB". */
export function formatProgress(done: number, total: number): string {
  const whole = formatBytes(total);
  const [, unit = 'B'] = whole.split(' ');
  const power = UNITS.indexOf(unit as (typeof UNITS)[number]);
  const value = done / 1024 ** Math.max(power, 0);
  const [number = ''] = whole.split(' ');
  const decimals = number.includes('.')
    ? (number.split('.')[1]?.length ?? 0)
    : power > 0 && value < 10
      ? 1
      : 0;
  if (done === 0) return `0 / ${whole}`;
  return `${value.toFixed(decimals)} / ${whole}`;
}

/** A length of time: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  if (seconds < 0.05) return '0.0 s';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) {
    const rest = Math.round(seconds) % 60;
    return minutes >= 10 || rest === 0 ? `${Math.round(seconds / 60)} min` : `${minutes} min ${rest} s`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

/** Time left, coarser than a duration so that it does not flicker: "1 s", "3 min". */
export function formatLeft(seconds: number): string {
  if (seconds < 1) return 'under 1 s';
  return seconds < 90 ? `${Math.round(seconds)} s` : formatDuration(Math.round(seconds / 60) * 60);
}

/** How long ago: "just now", "2 min ago", "3 d ago". */
export function formatAgo(at: Date, now: number): string {
  const seconds = Math.max(0, (now - at.getTime()) / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** Exact local time, for the hover: "2026-11-23 23:41:07". */
export function formatExact(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Local time of the day, for lines of a log: "23:41:07". */
export const formatClock = (at: Date): string => formatExact(at).slice(11);

/** "1 guest", "3 guests". */
export const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`;

function trim(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** "32 guests, 1 base and 2 operations" */
export const listed = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;
