// Times, spans, sizes and counts as people read them: the browser's time zone, 24 hours.

// the page is in English: another language's month names would stand in English sentences
const LOCALE = navigator.language?.startsWith("en") ? navigator.language : "en-GB";

const dateTimeOf = (options) => new Intl.DateTimeFormat(LOCALE, { hourCycle: "h23", ...options });
const CLOCK = dateTimeOf({ hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = dateTimeOf({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const CLOCK_TENTHS = dateTimeOf({
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1,
});
const DAY = dateTimeOf({ weekday: "short", day: "numeric", month: "short" });
const DAY_YEAR = dateTimeOf({ day: "numeric", month: "short", year: "numeric" });
const NUMBER = new Intl.NumberFormat(LOCALE);
const ONE_DIGIT = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

/** 14:05 */
export const clock = (ms) => CLOCK.format(ms);
/** 14:05:09 */
export const clockSeconds = (ms) => CLOCK_SECONDS.format(ms);
/** 14:05:09.4 */
export const clockTenths = (ms) => CLOCK_TENTHS.format(ms);

/** The first millisecond of the local day of `ms`. */
export function dayStart(ms) {
  const day = new Date(ms);
  day.setHours(0, 0, 0, 0);
  return day.getTime();
}

/** Minutes that local time is ahead of UTC at `ms`. */
export const offsetMinutes = (ms = Date.now()) => -new Date(ms).getTimezoneOffset();

/** today, yesterday, Sat 21 Nov, 21 Nov 2025 */
export function day(ms, now = Date.now()) {
  if (dayStart(ms) === dayStart(now)) return "today";
  if (dayStart(ms) === dayStart(dayStart(now) - 1)) return "yesterday";
  const sameYear = new Date(ms).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? DAY : DAY_YEAR).format(ms);
}

/** Sat 21 Nov, 14:05:09 (today: without the day) */
export function dateTime(ms, now = Date.now()) {
  const said = day(ms, now);
  return said === "today" ? clockSeconds(ms) : `${said}, ${clockSeconds(ms)}`;
}

/** 21 Nov 2026 */
export const fullDay = (ms) => DAY_YEAR.format(ms);
/** 21 Nov 2026, 14:05:09: for records, where "today" would age badly. */
export const fullDateTime = (ms) => `${DAY_YEAR.format(ms)}, ${clockSeconds(ms)}`;

/** yesterday, 14:05:09 – 14:06:00 */
export function span(fromMs, toMs, now = Date.now()) {
  const same = dayStart(fromMs) === dayStart(toMs);
  return `${dateTime(fromMs, now)} – ${same ? clockSeconds(toMs) : dateTime(toMs, now)}`;
}

/** 8 s, 4 min 12 s, 3 h 5 min, 2 d 4 h; below ten seconds with a tenth */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (seconds < 9.95) return `${ONE_DIGIT.format(Math.max(0, seconds))} s`;
  if (whole < MINUTE_S) return `${whole} s`;
  const two = (large, largeUnit, small, smallUnit) =>
    `${large} ${largeUnit}${small ? ` ${small} ${smallUnit}` : ""}`;
  if (whole < HOUR_S) return two(Math.floor(whole / MINUTE_S), "min", whole % MINUTE_S, "s");
  const minutes = Math.floor(whole / MINUTE_S);
  if (whole < DAY_S) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.floor(whole / HOUR_S);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** just now, 40 s ago, 5 min ago, in 3 d 2 h */
export function ago(ms, now = Date.now()) {
  const seconds = Math.round((now - ms) / 1000);
  if (Math.abs(seconds) < 3) return "just now";
  return seconds > 0 ? `${coarse(seconds)} ago` : `in ${coarse(-seconds)}`;
}

function coarse(seconds) {
  if (seconds < MINUTE_S) return `${seconds} s`;
  if (seconds < HOUR_S) return `${Math.floor(seconds / MINUTE_S)} min`;
  return duration(seconds);
}

/** 0 B, 840 kB, 3.2 MB */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? ONE_DIGIT.format(value) : NUMBER.format(Math.round(value))} ${units[unit]}`;
}

/** 12,345; a dash for what is not known */
export const number = (value) => (value === null || value === undefined ? "–" : NUMBER.format(value));
/** 24.8; a dash for what is not known */
export const tenth = (value) => (value === null || value === undefined ? "–" : ONE_DIGIT.format(value));
/** 1 face, 3 faces */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** The value of <input type="datetime-local" step="1"> for a time, in local time. */
export function inputValue(ms) {
  const local = new Date(ms + offsetMinutes(ms) * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The time of such an input; NaN while it is not a time. */
export const inputMs = (value) => new Date(value).getTime();
