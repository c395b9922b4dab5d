// What is recorded of one camera, asked for piece by piece: segments by time, and where their fragments lie.

import { api, failure, ApiError, signedOut } from "./api.js";

const CHUNK_MS = 2 * 3600_000; // one listing; at 20 s a segment 360 rows
const FAR_MS = 6 * 3600_000; // farther than this, listing starts anew instead of growing
const SETTLED_MS = 60_000; // younger recordings may still change
const AGAIN_MS = 1500; // between two looks at what may have changed
const KEPT_SEGMENTS = 40; // with their fragments

/** One recorded file. Times are Unix ms; `fragments` are {startMs, endMs, offset, size}. */
export class Segment {
  constructor(row) {
    this.id = row.id;
    this.fragments = null;
    this.init = null;
    this.complete = false; // its fragments are all known
    this.askedMs = -Infinity;
    this.update(row);
  }

  update(row) {
    this.startMs = row.start_ms;
    this.endMs = Math.max(row.end_ms, this.fragments?.at(-1)?.endMs ?? 0);
    this.fps = row.fps || 25;
    this.mime = row.mime;
    this.growing = row.growing;
    this.refusal = row.playable ? null : (row.refusal ?? row.problem ?? "This recording cannot be played.");
  }

  /** The fragment that has this time: its number, or the nearest one before. */
  numberAt(ms) {
    let low = 0;
    let high = this.fragments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.fragments[middle].startMs <= ms) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

export class RecordingIndex {
  constructor({ camera, fromMs, toMs }) {
    this.camera = camera;
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.segments = []; // by time
    this.listed = null; // [fromMs, toMs] that is known
    this.askedMs = 0;
  }

  /** The segment that has this time, or the first one after it; null where nothing follows. */
  async from(ms, signal) {
    let reachMs = CHUNK_MS;
    for (;;) {
      const known = this.segments.find((segment) => segment.endMs > ms);
      if (known && this.listed[0] <= ms && ms < this.listed[1]) return known;
      const untilMs = Math.min(this.toMs, ms + reachMs);
      const settled = await this.#list(ms, untilMs, signal);
      const found = this.segments.find((segment) => segment.endMs > ms);
      if (found || untilMs >= this.toMs || !settled) return found ?? null;
      reachMs *= 4;
    }
  }

  /** The last segment that begins before this time; null where there is none. */
  async before(ms, signal) {
    let reachMs = CHUNK_MS;
    for (;;) {
      const sinceMs = Math.max(this.fromMs, ms - reachMs);
      await this.#list(sinceMs, Math.min(ms, this.toMs), signal);
      const found = this.segments.findLast((segment) => segment.startMs < ms);
      if (found || sinceMs <= this.fromMs) return found ?? null;
      reachMs *= 4;
    }
  }

  /** The segment after this one. */
  async after(segment, signal) {
    const next = this.segments.find((other) => other.startMs > segment.startMs);
    return next ?? this.from(Math.max(segment.endMs, segment.startMs + 1), signal);
  }

  /** Fills in where the fragments lie; asks again for a segment that still grows. */
  async locate(segment, signal) {
    const now = performance.now();
    if (segment.fragments && (segment.complete || now - segment.askedMs < AGAIN_MS)) return;
    segment.askedMs = now;
    const answer = await this.#orGone(segment, api.get(`/api/recordings/${segment.id}/fragments`, { signal }));
    segment.mime = answer.mime;
    segment.fps = answer.fps || segment.fps;
    segment.growing = answer.growing;
    segment.complete = !answer.growing;
    segment.init = { offset: answer.init[0], size: answer.init[1] };
    segment.fragments = answer.fragments.map(([seconds, length, offset, size]) => ({
      startMs: segment.startMs + seconds * 1000,
      endMs: segment.startMs + (seconds + length) * 1000,
      offset,
      size,
    }));
    if (segment.fragments.length) segment.endMs = segment.fragments.at(-1).endMs;
    this.#forgetFragments(segment);
  }

  /** Bytes of a segment's file. Raises ApiError. */
  async bytes(segment, offset, size, signal) {
    let answer;
    try {
      answer = await fetch(`/api/recordings/${segment.id}/media`, {
        headers: { Range: `bytes=${offset}-${offset + size - 1}` },
        credentials: "same-origin",
        signal,
      });
      if (answer.status === 206) {
        const data = new Uint8Array(await answer.arrayBuffer());
        if (data.length === size) return data;
        throw new ApiError(206, "The recording is shorter than it should be.");
      }
    } catch (error) {
      if (signal.aborted || error instanceof ApiError) throw error;
      throw new ApiError(0, "The console cannot be reached.");
    }
    if (answer.status === 401) signedOut();
    return this.#orGone(segment, Promise.reject(await failure(answer)));
  }

  /** A segment deleted by age or size, or given to another camera, is not asked for again. */
  async #orGone(segment, answer) {
    try {
      return await answer;
    } catch (error) {
      if (error.status === 404) this.segments = this.segments.filter((other) => other !== segment);
      throw error;
    }
  }

  /** Makes [fromMs, toMs] known. False where its end may still change: it is looked at again. */
  async #list(fromMs, toMs, signal) {
    if (this.listed && (fromMs > this.listed[1] + FAR_MS || toMs < this.listed[0] - FAR_MS)) {
      this.listed = null;
      this.segments = [];
    }
    if (!this.listed) {
      await this.#ask(fromMs, toMs, signal);
    } else {
      if (fromMs < this.listed[0]) await this.#ask(fromMs, this.listed[0], signal);
      const isFresh = performance.now() - this.askedMs < AGAIN_MS && this.listed[1] >= this.#settledMs() - AGAIN_MS;
      if (toMs > this.listed[1] && !isFresh) await this.#ask(this.listed[1], toMs, signal);
    }
    return this.listed[1] >= toMs;
  }

  async #ask(fromMs, toMs, signal) {
    this.askedMs = performance.now();
    const answer = await api.get("/api/recordings", {
      query: { camera: this.camera, from_ms: Math.floor(fromMs), to_ms: Math.ceil(toMs) }, signal,
    });
    this.#merge(answer.segments);
    const knownTo = Math.max(fromMs, Math.min(toMs, this.#settledMs()));
    this.listed = [Math.min(this.listed?.[0] ?? fromMs, fromMs), Math.max(this.listed?.[1] ?? knownTo, knownTo)];
  }

  /** Up to here nothing new will come: the browser's clock may be wrong, a growing file is not. */
  #settledMs() {
    const growing = this.segments.find((segment) => segment.growing);
    return Math.min(Date.now() - SETTLED_MS, growing?.startMs ?? Infinity);
  }

  #merge(rows) {
    const known = new Map(this.segments.map((segment) => [segment.id, segment]));
    for (const row of rows) {
      if (known.has(row.id)) known.get(row.id).update(row);
      else known.set(row.id, new Segment(row));
    }
    this.segments = [...known.values()].sort((one, other) => one.startMs - other.startMs);
  }

  #forgetFragments(newest) {
    const filled = this.segments.filter((segment) => segment.fragments && segment !== newest);
    filled.sort((one, other) => one.askedMs - other.askedMs);
    for (const segment of filled.slice(0, Math.max(0, filled.length - KEPT_SEGMENTS))) segment.fragments = null;
  }
}
