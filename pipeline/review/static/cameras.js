// What the cameras do: one poll a second for whoever watches, words for states, and what was obscured of late.

import { api, isAbort } from "./api.js";
import { duration, plural } from "./format.js";

const POLL_MS = 1000;
const OBSCURED_WINDOW_MS = 60_000;
const OVERLOAD_WINDOW_MS = 15_000;
const OVERLOAD_SHARE = 0.1; // of the frames that came: below that somebody merely looked
const HISTORY_MS = 120_000;

const STATES = {
  up: ["up", "live"],
  connecting: ["waiting", "connecting"],
  down: ["down", "down, reconnecting"],
  failed: ["down", "failed"],
  silent: ["down", "no answer"],
  ended: ["off", "ended"],
  recorded: ["off", "recordings only"],
};

/** [dot, word] of a camera's state. */
export const stateOf = (camera) => STATES[camera.state] ?? ["waiting", camera.state];
/** Whether pictures should be coming now. */
export const isUp = (camera) => camera.state === "up";

/** "for 12 min 4 s", empty where nobody knows since when */
export const sinceWords = (camera, now = Date.now()) =>
  (camera.since_ms ? `for ${duration(Math.max(0, now - camera.since_ms) / 1000)}` : "");

/** Polls /api/cameras while the page is visible, until `signal`. Calls see(cameras) or missing(error). */
export function watchCameras({ see, missing = () => {}, signal }) {
  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    try {
      const cameras = await api.get("/api/cameras", { signal, patienceMs: 5 * POLL_MS });
      if (!signal.aborted) see(cameras);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      missing(error);
    }
    clearTimeout(timer);
    timer = setTimeout(look, POLL_MS);
  };
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  look();
}

/** Remembers the last two minutes of every camera. */
export class CameraHistory {
  #samples = new Map(); // id -> [{at, obscured, p50, p95}]

  add(cameras, at = Date.now()) {
    for (const camera of cameras) {
      const samples = this.#samples.get(camera.id) ?? [];
      samples.push({ at, dropped: camera.dropped, came: camera.frames_in, obscured: camera.obscured, p50: camera.latency_p50_ms, p95: camera.latency_p95_ms });
      while (samples[0].at < at - HISTORY_MS) samples.shift();
      this.#samples.set(camera.id, samples);
    }
  }

  /** [{at, p50, p95}], oldest first. */
  of(id) {
    return this.#samples.get(id) ?? [];
  }

  /** Share of the frames that were dropped of late, 0..1: this machine is too slow for them. Null where it keeps up. */
  overload(id) {
    const samples = this.of(id);
    const last = samples.at(-1);
    if (!last) return null;
    const first = samples.find(({ at }) => at >= last.at - OVERLOAD_WINDOW_MS);
    const came = last.came - first.came;
    const share = came > 0 ? (last.dropped - first.dropped) / came : 0; // negative: its process began anew
    return share > OVERLOAD_SHARE ? Math.min(share, 1) : null;
  }

  /** {reason: frames} of the last minute, as far back as this page has looked. */
  obscured(id) {
    const samples = this.of(id);
    const last = samples.at(-1);
    if (!last) return {};
    const first = samples.find(({ at }) => at >= last.at - OBSCURED_WINDOW_MS);
    const counted = {};
    for (const [reason, count] of Object.entries(last.obscured)) {
      const before = first.obscured[reason] ?? 0;
      const frames = count >= before ? count - before : count; // the camera's process began anew
      if (frames > 0) counted[reason] = frames;
    }
    return counted;
  }
}

/** "12 frames obscured: detection late" for the largest reason, null for none. */
export function obscuredWords(reasons) {
  const entries = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  if (!entries.length) return null;
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const more = entries.length > 1 ? ` and ${plural(entries.length - 1, "other reason")}` : "";
  return `${plural(total, "frame")} obscured: ${entries[0][0]}${more}`;
}
