// What the timeline shows of the recordings: asked for a little wider than the view, and only where it has changed.

import { api, isAbort } from "./api.js";

const QUIET_MS = 120; // after the last movement
const BAR_PX = 4;
const MOST_BUCKETS = 2000;
const FRESH_MS = 10_000; // recordings of now grow

export class TimelineData {
  /** `changed(error)` is called after each answer; error is null where it went well. */
  constructor(signal, changed) {
    this.signal = signal;
    this.changed = changed;
    this.answer = null; // {from_ms, to_ms, bucket_ms, cameras}
    this.rows = new Map();
    this.most = 1; // people in the fullest bucket
    this.wanted = null;
    this.work = null;
    this.timer = 0;
    const again = setInterval(() => {
      const isShown = document.visibilityState === "visible" && this.wanted;
      if (isShown && this.wanted.toMs > Date.now() - FRESH_MS) this.#ask();
    }, FRESH_MS);
    signal.addEventListener("abort", () => {
      clearInterval(again);
      clearTimeout(this.timer);
    });
  }

  /** Sees to data for this scale. */
  want(scale, cameras) {
    const bucketMs = scale.bucketMs(BAR_PX);
    const key = `${bucketMs} ${cameras.join()}`;
    const isThere = this.wanted?.key === key && this.wanted.fromMs <= scale.fromMs && this.wanted.toMs >= scale.toMs;
    if (isThere || !cameras.length) return;
    const fromMs = Math.floor((scale.fromMs - scale.spanMs / 2) / bucketMs) * bucketMs;
    const wide = Math.ceil((scale.toMs + scale.spanMs / 2 - fromMs) / bucketMs);
    const buckets = Math.min(MOST_BUCKETS, wide);
    this.wanted = { key, cameras, fromMs, toMs: fromMs + buckets * bucketMs, buckets };
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), this.answer ? QUIET_MS : 0);
  }

  /** {people, obscured} of a camera at a time; null where nothing is known. */
  at(camera, ms) {
    const row = this.rows.get(camera);
    if (!row || ms < this.answer.from_ms || ms >= this.answer.to_ms) return null;
    const bucket = Math.floor((ms - this.answer.from_ms) / this.answer.bucket_ms);
    const recorded = row.segments.some(([start, end]) => ms >= start && ms < end);
    return { people: row.people[bucket] ?? 0, obscured: row.obscured[bucket] ?? 0, recorded };
  }

  /** Seconds recorded of a camera in a span. */
  secondsIn(camera, fromMs, toMs) {
    const spans = this.rows.get(camera)?.segments ?? [];
    return spans.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(end, toMs) - Math.max(start, fromMs)), 0) / 1000;
  }

  /** The next (direction 1) or previous beginning of a recording; null where none is known. */
  edge(camera, ms, direction) {
    const starts = (this.rows.get(camera)?.segments ?? []).map(([start]) => start);
    const margin = 1000;
    return (direction > 0 ? starts.find((start) => start > ms + margin) : starts.findLast((start) => start < ms - margin)) ?? null;
  }

  async #ask() {
    this.work?.abort();
    this.work = new AbortController();
    const { cameras, fromMs, toMs, buckets } = this.wanted;
    try {
      const answer = await api.get("/api/timeline", {
        query: { from_ms: Math.round(fromMs), to_ms: Math.round(toMs), cameras, buckets },
        signal: AbortSignal.any([this.signal, this.work.signal]),
      });
      this.answer = answer;
      this.rows = new Map(answer.cameras.map((row) => [row.id, row]));
      this.most = answer.cameras.reduce((most, row) => row.people.reduce((one, other) => Math.max(one, other), most), 1);
      this.changed(null);
    } catch (error) {
      if (isAbort(error)) return;
      this.wanted = null; // the next movement asks again
      this.changed(error);
    }
  }
}
