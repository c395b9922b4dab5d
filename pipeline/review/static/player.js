// Plays one camera over a window of time as if it were one film: position, speed, frames; the feeds bring the pictures.

import { MediaSourceFeed, hasMediaSource } from "./player-mse.js";
import { HlsFeed, playsHls } from "./player-hls.js";
import { RecordingIndex } from "./recording-index.js";

const FASTEST_PLAYED = 4; // above, pictures are skipped: decoding them all would stutter
const SKIP_MS = 200; // between two pictures then
/** Speeds that are offered. */
export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

/**
 * Events: "state" (this.state changed), "frame" (another picture is shown), "rate" (speed, or playing or not).
 * state.kind: idle, loading, ready, waiting (a recording that grows), ended, empty, refused, error; with a message for
 * the last five.
 */
export class RecordingPlayer extends EventTarget {
  #video;
  #feed = null;
  #window = null;
  #shownSeconds = null; // of the picture on the screen, where the browser tells
  #speed = 1;
  #skipping = null; // timer of the speeds that are not played
  #stepTarget = null; // where steps lead whose picture is not there yet, in seconds
  #failedAtMs = null;

  constructor(video) {
    super();
    this.#video = video;
    this.state = { kind: "idle", message: null };
    for (const kind of ["play", "pause", "ratechange"]) video.addEventListener(kind, () => this.#say("rate"));
    video.addEventListener("seeked", () => this.#seeked());
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback((_, frame) => this.#shown(frame));
    else video.addEventListener("timeupdate", () => this.#say("frame"));
  }

  /** Opens `camera` at a moment. All times are Unix ms; the window is where the position may be. */
  open({ camera, fromMs, toMs, atMs, playing = !this.paused }) {
    this.close();
    this.#window = { camera, fromMs, toMs };
    this.#shownSeconds = null;
    this.#stepTarget = null;
    const index = new RecordingIndex(this.#window);
    const report = (state) => { if (feed === this.#feed) this.#report(state); };
    if (!hasMediaSource && !playsHls(this.#video)) {
      this.#report({ kind: "refused", message: "This browser cannot play recordings. Export the clip to see it elsewhere." });
      return;
    }
    const feed = new (hasMediaSource ? MediaSourceFeed : HlsFeed)(this.#video, index, report);
    this.#feed = feed;
    this.#report({ kind: "loading" });
    feed.run(atMs).catch((error) => {
      if (feed !== this.#feed) return;
      const position = this.at ?? atMs;
      this.#feed.close();
      this.#feed = null;
      this.#failedAtMs = position;
      this.#report({ kind: "error", message: error.message });
    });
    this.#video.defaultPlaybackRate = this.#video.playbackRate = Math.min(this.#speed, FASTEST_PLAYED);
    if (playing) this.play();
  }

  /** After an error: once more, at the same place. */
  retry() {
    if (this.#window) this.open({ ...this.#window, atMs: this.#failedAtMs ?? this.at, playing: false });
  }

  close() {
    this.#stopSkipping();
    this.#feed?.close();
    this.#feed = null;
    this.#report({ kind: "idle" });
  }

  get camera() {
    return this.#window?.camera ?? null;
  }

  /** The position, in Unix ms; null while nothing is open. */
  get at() {
    return this.#feed ? this.#feed.originMs + this.#video.currentTime * 1000 : null;
  }

  /** When the picture that is shown was taken, in Unix ms. */
  get frameMs() {
    if (!this.#feed) return null;
    return this.#feed.originMs + (this.#shownSeconds ?? this.#video.currentTime) * 1000;
  }

  get paused() {
    return this.#video.paused && this.#skipping === null;
  }

  get speed() {
    return this.#speed;
  }

  set speed(value) {
    const wasPlaying = !this.paused;
    this.#stopSkipping();
    this.#speed = value;
    this.#video.playbackRate = Math.min(value, FASTEST_PLAYED);
    if (wasPlaying) this.play();
    this.#say("rate");
  }

  /** Shows the moment `ms`; a gap is left at its end (`backwards`: at its beginning). */
  seekTo(ms, backwards = false) {
    if (!this.#feed) return;
    this.#stepTarget = null;
    this.#feed.seek(Math.min(Math.max(ms, this.#window.fromMs), this.#window.toMs), backwards);
    this.#say("frame");
  }

  play() {
    if (!this.#feed) return;
    if (this.#speed > FASTEST_PLAYED) this.#skip();
    else this.#video.play().catch(() => {}); // a pause or another source came first
  }

  pause() {
    this.#stopSkipping();
    this.#video.pause();
    this.#say("rate");
  }

  toggle() {
    if (this.paused) this.play();
    else this.pause();
  }

  /** Shows the frame `count` later (negative: earlier) and pauses. */
  step(count) {
    if (!this.#feed) return;
    this.pause();
    const { fps } = this.#feed;
    const half = 0.5 / fps; // steps go to the middle of a frame: rounding cannot land on a neighbour
    let shown = this.#shownSeconds ?? this.#video.currentTime;
    if (count > 0) shown = Math.max(shown, this.#video.currentTime - half); // over a frame that lasts longer
    const target = (this.#stepTarget ?? shown + half) + count / fps;
    this.seekTo(this.#feed.originMs + Math.max(0, target) * 1000, count < 0);
    this.#stepTarget = target;
  }

  #seeked() {
    // a step is done; the next starts from the picture that it found
    if (!this.#video.requestVideoFrameCallback) this.#stepTarget = null;
    this.#say("frame");
  }

  #shown(frame) {
    this.#shownSeconds = frame.mediaTime;
    if (!this.#video.seeking) this.#stepTarget = null;
    this.#say("frame");
    this.#video.requestVideoFrameCallback((_, next) => this.#shown(next));
  }

  /** Fast: still pictures, one after the other, as quickly as they come. */
  #skip() {
    if (this.#skipping !== null) return;
    this.#video.pause();
    let last = performance.now();
    this.#skipping = setInterval(() => {
      if (this.#video.seeking || this.#feed === null) return;
      if (["ended", "refused", "error", "empty"].includes(this.state.kind)) {
        this.pause();
        return;
      }
      const now = performance.now();
      this.seekTo(this.at + Math.min(now - last, 1000) * this.#speed);
      last = now;
    }, SKIP_MS);
    this.#say("rate");
  }

  #stopSkipping() {
    clearInterval(this.#skipping);
    this.#skipping = null;
  }

  #report({ kind, message = null }) {
    if (kind === this.state.kind && message === this.state.message) return;
    this.state = { kind, message };
    if (kind === "ended") this.pause();
    this.#say("state");
  }

  #say(kind) {
    this.dispatchEvent(new Event(kind));
  }
}
