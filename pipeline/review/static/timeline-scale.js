// Arithmetic of the timeline: which part of time is shown, and where its ticks stand. Knows nothing of the page.

import { clock, clockSeconds, day, dayStart, offsetMinutes } from "./format.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
].map((seconds) => seconds * SECOND);

export const SHORTEST_MS = 10 * SECOND;
export const LONGEST_MS = 35 * DAY;

/** A span of time on a line of `width` pixels. Frozen; zooming and panning make another. */
export class Scale {
  constructor(fromMs, toMs, width) {
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.width = Math.max(1, width);
    Object.freeze(this);
  }

  get spanMs() {
    return this.toMs - this.fromMs;
  }

  x(ms) {
    return ((ms - this.fromMs) / this.spanMs) * this.width;
  }

  ms(x) {
    return this.fromMs + (x / this.width) * this.spanMs;
  }

  has(ms) {
    return ms >= this.fromMs && ms <= this.toMs;
  }

  /** `factor` above 1 shows more time; `aroundMs` keeps its place. */
  zoomed(factor, aroundMs) {
    const spanMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, this.spanMs * factor));
    const fromMs = aroundMs - ((aroundMs - this.fromMs) / this.spanMs) * spanMs;
    return new Scale(fromMs, fromMs + spanMs, this.width);
  }

  panned(ms) {
    return new Scale(this.fromMs + ms, this.toMs + ms, this.width);
  }

  /** Times of round figures at least `gap` pixels apart: {ms, label, strong}. */
  ticks(gap) {
    const leastMs = (gap / this.width) * this.spanMs;
    const step = STEPS.find((candidate) => candidate >= leastMs) ?? STEPS.at(-1);
    const found = [];
    for (const ms of step >= DAY ? this.#days(step / DAY) : this.#times(step)) {
      const isMidnight = ms === dayStart(ms);
      const label = isMidnight ? day(ms) : step < MINUTE ? clockSeconds(ms) : clock(ms);
      found.push({ ms, label, strong: isMidnight });
    }
    return found;
  }

  /** A width of a bucket, in ms, that is a round figure of at least `pixels`. */
  bucketMs(pixels) {
    const leastMs = (pixels / this.width) * this.spanMs;
    return STEPS.find((candidate) => candidate >= leastMs) ?? STEPS.at(-1);
  }

  * #times(step) {
    // local time: 6 h steps start at midnight, also where the zone is off by half an hour
    const offsetMs = offsetMinutes(this.fromMs) * MINUTE;
    const first = Math.ceil((this.fromMs + offsetMs) / step) * step - offsetMs;
    for (let ms = first; ms <= this.toMs; ms += step) {
      // the night of a change of the clock: back to whole hours
      yield ms + (step >= HOUR ? offsetMs - offsetMinutes(ms) * MINUTE : 0);
    }
  }

  * #days(step) {
    const date = new Date(dayStart(this.fromMs));
    for (; date.getTime() <= this.toMs; date.setDate(date.getDate() + step)) {
      if (date.getTime() >= this.fromMs) yield date.getTime();
    }
  }
}
