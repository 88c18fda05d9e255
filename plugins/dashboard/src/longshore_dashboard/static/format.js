// Numbers, durations and times as people read them. Times come as seconds since 1970 or as ISO text.

const WHOLE = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
export const NONE = "–";

/** Return seconds since 1970 of whatever a time was sent as; null for none. */
export function seconds(time) {
  if (time === null || time === undefined || time === "") return null;
  const value = typeof time === "number" ? time : Date.parse(time) / 1000;
  return Number.isFinite(value) ? value : null;
}

export function count(value) {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

/** Three digits that count: 0.0123, 1.23, 12.3, 123, 1,234. */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return WHOLE.format(Math.round(value));
  return value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 2 : 3);
}

/** A duration: 850 µs, 12 ms, 3.4 s, 3 m 05 s, 2 h 04 m, 3 d 02 h. */
export function duration(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.max(0, value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${Math.max(1, Math.round(size * 1e6))} µs`;
  if (size < 1) return `${Math.round(size * 1000)} ms`;
  if (size < 60) return `${size.toFixed(size < 10 ? 2 : 1)} s`;
  const all = Math.round(size);
  const two = (part) => String(part).padStart(2, "0");
  if (all < 3600) return `${Math.floor(all / 60)} m ${two(all % 60)} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${two(Math.floor(all / 60) % 60)} m`;
  return `${Math.floor(all / 86400)} d ${two(Math.floor(all / 3600) % 24)} h`;
}

/** The time of day. */
export function clock(time) {
  const at = seconds(time);
  return at === null ? NONE : CLOCK.format(at * 1000);
}

/** The time of day with thousandths, for what happens within a second. */
export function fine(time) {
  const at = seconds(time);
  return at === null ? NONE : `${CLOCK.format(at * 1000)}.${String(Math.floor((at * 1000) % 1000)).padStart(3, "0")}`;
}

export function stamp(time) {
  const at = seconds(time);
  return at === null ? NONE : `${DAY.format(at * 1000)}, ${CLOCK.format(at * 1000)}`;
}

/** Memory from MB (10**6 bytes). */
export function memory(mb) {
  if (mb === null || mb === undefined) return NONE;
  return mb >= 1000 ? `${(mb / 1000).toFixed(mb >= 10000 ? 1 : 2)} GB` : `${number(mb)} MB`;
}

export function percent(value, digits = 0) {
  return value === null || value === undefined ? NONE : `${value.toFixed(digits)} %`;
}

/** How long is left, as the range that it is: "8 m 00 s to 12 m 00 s". */
export function range(low, high) {
  if (low === null || low === undefined) return null;
  const [from, to] = [duration(low), duration(high ?? low)];
  return from === to ? from : `${from} to ${to}`;
}

/** A word quoted for a POSIX shell. What can't be seen or typed is written out, so that nothing hides in what is copied. */
export function quoted(word) {
  if (/^[\w@%+=:,./-]+$/.test(word) && !word.startsWith("-")) return word;
  if (/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/.test(word)) {
    const bytes = new TextEncoder().encode(word);
    const shown = [...bytes].map((byte) =>
      byte < 32 || byte > 126 || byte === 39 || byte === 92 ? `\\x${byte.toString(16).padStart(2, "0")}` : String.fromCharCode(byte));
    return `$'${shown.join("")}'`;
  }
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
