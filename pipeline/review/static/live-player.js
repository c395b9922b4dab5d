// Plays one camera: fragments over a WebSocket into Media Source Extensions, close behind the newest one.
// Where a browser has none, HLS by the video element itself. Reconnects until it is stopped.

import { signedOut } from "./api.js";

const TARGET_S = 0.2; // behind the newest fragment: nearer and each late frame stops the picture
const LARGEST_TARGET_S = 0.5;
const STALL_STEP_S = 0.05; // what every stall adds to the target, until it has been quiet again
const CALM_MS = 20_000;
const HURRY_S = 0.2; // farther than this behind the target: a little faster, which is not seen
const JUMP_S = 1.5; // farther behind than this: to the edge at once
const NEAR_S = 0.08; // nearer than this: a little slower, before the decoder runs dry
const KEEP_S = 10; // of what was played
const SILENCE_MS = 10_000; // a connection that brings nothing for so long is given up
const WAITING_SILENCE_MS = 60_000; // while the server has said that there is nothing
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const STABLE_MS = 5000; // a connection that held so long starts the pauses anew
const QUEUE_BYTES = 16_000_000; // not yet taken by the browser: beyond that it is not playing at all
const HLS_MIME = "application/vnd.apple.mpegurl";
const SESSION_OVER = 4401;
const NO_CAMERA = 4404;
const REFUSED = 4406;

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

export class LivePlayer {
  #video;
  #camera;
  #onState;
  #listening = null; // AbortController of everything that start() set up
  #socket = null;
  #source = null;
  #buffer = null;
  #url = null;
  #queue = [];
  #queuedBytes = 0;
  #mime = null;
  #pauseMs = FIRST_PAUSE_MS;
  #retry = 0;
  #watchdog = 0;
  #openedAt = 0;
  #targetS = TARGET_S;
  #calmAt = 0;
  #frames = 0; // of media sources that are gone
  #reconnects = 0;
  #refusal = null;
  #waiting = false;

  /** onState(kind, text): connecting | playing | waiting | lost | refused | blocked */
  constructor(video, cameraId, onState = () => {}) {
    this.#video = video;
    this.#camera = cameraId;
    this.#onState = onState;
  }

  get running() {
    return this.#listening !== null;
  }

  /** behindMs: of the newest fragment, null without picture; frames: shown so far; reconnects. */
  get stats() {
    const ranges = this.#buffer && this.#source.readyState === "open" ? this.#buffer.buffered : null;
    const behindS = ranges?.length ? ranges.end(ranges.length - 1) - this.#video.currentTime : null;
    return {
      behindMs: behindS === null ? null : Math.round(behindS * 1000),
      frames: this.#frames + (this.#video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0),
      reconnects: this.#reconnects,
    };
  }

  start() {
    if (this.#listening) return;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const on = (target, name, call) => target.addEventListener(name, call, { signal });
    on(this.#video, "waiting", () => this.#stalled());
    on(this.#video, "playing", () => this.#say("playing", null));
    on(this.#video, "error", () => this.#lost("the browser could not decode it"));
    on(this.#video, "click", () => { if (this.#video.paused) this.#play(); });
    on(globalThis, "online", () => this.#again());
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#connect();
  }

  /** Ends the connection. The last picture stays. */
  stop() {
    if (!this.#listening) return;
    this.#listening.abort();
    this.#listening = null;
    clearTimeout(this.#retry);
    this.#hangUp();
    this.#video.pause();
  }

  #say(kind, text) {
    this.#onState(kind, text);
  }

  // --- the connection ---

  #connect() {
    this.#say("connecting", null);
    if (!Source) {
      this.#playHls("This browser has no Media Source Extensions and cannot play HLS.");
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(
      `${scheme}://${location.host}/api/cameras/${encodeURIComponent(this.#camera)}/live`,
    );
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => { if (socket === this.#socket) this.#take(event.data); };
    socket.onclose = (event) => { if (socket === this.#socket) this.#closed(event); };
    this.#socket = socket;
    this.#refusal = null;
    this.#openedAt = performance.now();
    this.#watch(SILENCE_MS);
  }

  #watch(patienceMs) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost("nothing came any more"), patienceMs);
  }

  #hangUp() {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #closed(event) {
    if (event.code === SESSION_OVER) {
      this.stop();
      signedOut();
    } else if (event.code === NO_CAMERA) {
      this.#refuse("There is no such camera any more.");
    } else if (event.code === REFUSED) {
      this.#refuse(this.#refusal ?? (event.reason || "This stream cannot be shown in a browser."));
    } else {
      this.#lost(event.reason || "the connection has ended");
    }
  }

  #refuse(text) {
    this.stop();
    this.#say("refused", text);
  }

  #lost(why) {
    if (!this.running) return;
    this.#hangUp();
    clearTimeout(this.#retry);
    this.#reconnects += 1;
    // a jitter, so that a wall of tiles does not come back in one instant
    const pauseMs = this.#pauseMs * (0.8 + 0.4 * Math.random());
    const seconds = Math.max(1, Math.round(pauseMs / 1000));
    this.#say("lost", `Picture lost: ${why}. Trying again in ${seconds} s.`);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    this.#retry = setTimeout(() => this.#connect(), pauseMs);
  }

  /** The network is back: no need to sit a pause out. */
  #again() {
    if (this.#socket || !this.running) return;
    clearTimeout(this.#retry);
    this.#connect();
  }

  #take(data) {
    if (typeof data === "string") {
      this.#instruct(JSON.parse(data));
      return;
    }
    this.#watch(SILENCE_MS);
    if (performance.now() - this.#openedAt > STABLE_MS) this.#pauseMs = FIRST_PAUSE_MS;
    if (this.#waiting) {
      this.#waiting = false;
      this.#say("playing", null); // the old stream goes on: the video itself may not have noticed
    }
    this.#queue.push(data);
    this.#queuedBytes += data.byteLength;
    if (this.#queuedBytes > QUEUE_BYTES) this.#lost("the browser does not keep up");
    else this.#feed();
  }

  #instruct(message) {
    if (message.mime) {
      this.#watch(SILENCE_MS);
      this.#waiting = false;
      this.#begin(message.mime);
      return;
    }
    this.#refusal = message.reason ?? null;
    this.#waiting = message.state === "waiting";
    this.#watch(WAITING_SILENCE_MS);
    this.#say("waiting", message.reason ?? null);
  }

  // --- the picture ---

  /** A new stream. Its clock may start anew, so it gets a media source of its own. */
  #begin(mime) {
    if (!Source.isTypeSupported(mime)) {
      this.#hangUp();
      this.#playHls(`This browser cannot play ${mime}.`);
      return;
    }
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#mime = mime;
    this.#frames += this.#video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
    const source = new Source();
    this.#source = source;
    this.#buffer = null;
    const old = this.#url;
    this.#url = URL.createObjectURL(source);
    this.#video.disableRemotePlayback = true; // ManagedMediaSource asks for it
    source.addEventListener("sourceopen", () => this.#opened(source), { once: true });
    this.#video.src = this.#url;
    if (old) URL.revokeObjectURL(old);
  }

  #opened(source) {
    if (source !== this.#source) return;
    source.duration = Infinity; // live: browsers then hold fewer frames back
    this.#buffer = source.addSourceBuffer(this.#mime);
    this.#buffer.addEventListener("updateend", () => { if (source === this.#source) this.#fed(); });
    this.#feed();
  }

  #feed() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || this.#source.readyState !== "open") return;
    if (this.#forget() || !this.#queue.length) return;
    const bytes = this.#queue.length === 1 ? this.#queue[0] : joined(this.#queue, this.#queuedBytes);
    try {
      buffer.appendBuffer(bytes);
      this.#queue = [];
      this.#queuedBytes = 0;
    } catch (error) {
      if (error.name === "QuotaExceededError" && this.#forget(1)) return;
      this.#lost("the browser refused a part of it");
    }
  }

  /** Takes away what was played long ago; says whether the buffer is busy with it. */
  #forget(keepS = KEEP_S) {
    const ranges = this.#buffer.buffered;
    const now = this.#video.currentTime;
    if (!ranges.length || now - ranges.start(0) < 1.5 * keepS) return false;
    this.#buffer.remove(0, now - keepS);
    return true;
  }

  #fed() {
    this.#keepUp();
    this.#feed();
  }

  #keepUp() {
    const video = this.#video;
    const ranges = this.#buffer.buffered;
    if (!ranges.length || !this.running) return;
    const start = ranges.start(ranges.length - 1);
    const end = ranges.end(ranges.length - 1);
    const behind = end - video.currentTime;
    if (performance.now() > this.#calmAt) this.#targetS = TARGET_S;
    if (behind > JUMP_S || video.currentTime < start - 0.05) {
      video.currentTime = Math.max(start, end - this.#targetS);
      video.playbackRate = 1;
    } else if (behind > this.#targetS + HURRY_S) {
      video.playbackRate = behind > 2 * (this.#targetS + HURRY_S) ? 1.1 : 1.05;
    } else if (behind < NEAR_S) {
      video.playbackRate = 0.95;
    } else if (video.playbackRate < 1 ? behind > this.#targetS : behind < this.#targetS + 0.05) {
      video.playbackRate = 1; // back to the pace only at the target, so that the rate does not flutter
    }
    if (video.paused) this.#play();
  }

  #stalled() {
    if (!this.#buffer || this.#waiting || this.#video.seeking) return;
    this.#targetS = Math.min(this.#targetS + STALL_STEP_S, LARGEST_TARGET_S);
    this.#calmAt = performance.now() + CALM_MS;
  }

  #play() {
    this.#video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#say("blocked", "Press the picture to play.");
    });
  }

  // --- without Media Source Extensions ---

  #playHls(otherwise) {
    if (!this.#video.canPlayType(HLS_MIME)) {
      this.#refuse(otherwise);
      return;
    }
    this.#source = null;
    this.#buffer = null;
    this.#socket = null;
    this.#video.src = `/api/cameras/${encodeURIComponent(this.#camera)}/live.m3u8`;
    this.#play();
  }
}

function joined(parts, length) {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return bytes;
}
