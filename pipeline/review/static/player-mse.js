// Feeds a <video> through Media Source Extensions: the fragments around its position, whatever file they lie in.
// One media clock for the whole window: video.currentTime = (absolute ms - window's start) / 1000.

const AHEAD_S = 12; // wanted in the buffer at normal speed
const BEHIND_S = 30; // kept behind, so that stepping back needs no network
const FAR_S = 60; // what lies farther ahead than this is let go
const FIRST_REQUEST_S = 2;
const REQUEST_S = 4; // joined fragments of one request
const HOLE_S = 1; // frames that are missing inside a file
const STUCK_S = 0.15;
const TOUCHING_S = 0.06; // two ranges this close are one for the decoder
const IDLE_MS = 400;
const NUDGES = ["waiting", "seeking", "timeupdate", "ratechange", "error"];
const INTO_S = 0.002; // a little past a start, so that rounding cannot land before it

const Source = globalThis.MediaSource ?? globalThis.ManagedMediaSource;

/** Whether this browser plays this type by Media Source Extensions. */
export const plays = (mime) => Boolean(Source) && Source.isTypeSupported(mime);
/** Whether this browser has them at all. */
export const hasMediaSource = Boolean(Source);

export class MediaSourceFeed {
  /** `report({kind, message})` is told what the feed is doing; see player.js for the kinds. */
  constructor(video, index, report) {
    this.video = video;
    this.index = index;
    this.originMs = index.fromMs;
    this.fps = 25; // of what is shown
    this.report = report;
    this.stopped = new AbortController();
    this.work = new AbortController(); // what a seek makes useless
    this.loaded = new Map(); // "segment:number" -> {startS, endS, size, hollow}
    this.last = null; // the fragment appended last: the decoder can go on from there
    this.initOf = null;
    this.mime = null;
    this.backwards = false;
    this.soughtS = null; // a position whose picture is still to be fetched
    this.endS = null; // where nothing follows, once that was said
    this.failures = 0;
    this.isAwake = false;
    this.endIdle = () => {};
    for (const kind of NUDGES) video.addEventListener(kind, this.wake);
  }

  /** Opens the source and plays what lies at `atMs`. Ends when closed; throws what makes playing impossible. */
  async run(atMs) {
    this.source = new Source();
    this.address = URL.createObjectURL(this.source);
    this.video.disableRemotePlayback = true; // asked for by ManagedMediaSource
    this.video.src = this.address;
    await once(this.source, "sourceopen", this.stopped.signal);
    this.source.duration = (this.index.toMs - this.originMs) / 1000;
    this.seek(atMs);
    while (!this.stopped.signal.aborted) {
      const signal = AbortSignal.any([this.stopped.signal, this.work.signal]);
      try {
        if (!(await this.#fill(signal))) await this.#idle();
        this.failures = 0;
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        if (!signal.aborted) await this.#survive(error);
      }
    }
  }

  /** Shows this moment. `backwards`: a gap is left at its beginning instead of its end. */
  seek(ms, backwards = false) {
    this.backwards = backwards;
    const seconds = Math.min(Math.max(0, (ms - this.originMs) / 1000), this.source.duration || Infinity);
    this.video.currentTime = seconds;
    this.soughtS = this.#buffered(seconds) ? null : seconds;
    if (this.soughtS !== null) {
      this.work.abort();
      this.work = new AbortController();
    }
    this.wake();
  }

  close() {
    if (this.stopped.signal.aborted) return;
    this.stopped.abort();
    this.wake();
    for (const kind of NUDGES) this.video.removeEventListener(kind, this.wake);
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(this.address);
  }

  /** One step towards a full buffer; false where nothing is to do now. */
  async #fill(signal) {
    const atMs = this.originMs + this.video.currentTime * 1000;
    const segment = await this.index.from(atMs, signal);
    if (this.video.error) throw new Error(this.video.error.message);
    if (!segment) return this.#pastTheEnd(atMs, signal);
    const isInGap = segment.startMs > atMs && !this.#buffered(this.video.currentTime);
    if (isInGap) return this.#leaveGap(segment, atMs, signal);
    if (this.#refused(segment)) return false;
    await this.index.locate(segment, signal);
    if (this.#refused(segment)) return false;
    this.fps = segment.fps;
    const moved = await this.#skipHole(segment, atMs, signal);
    if (moved !== null) return moved;
    const isAtEnd = this.endS !== null && Math.abs(this.video.currentTime - this.endS) < INTO_S;
    if (!isAtEnd) this.report({ kind: this.#buffered(this.video.currentTime) ? "ready" : "loading" });
    return this.#fetchNext(segment, atMs, signal);
  }

  /** Walks from the position on until something is missing, and loads that. */
  async #fetchNext(first, atMs, signal) {
    let budgetS = AHEAD_S * Math.max(1, this.video.playbackRate);
    let horizonS = this.video.currentTime;
    for (let segment = first; segment && budgetS > 0; segment = await this.index.after(segment, signal)) {
      if (segment !== first) {
        if (segment.refusal) break;
        await this.index.locate(segment, signal);
        if (this.#refusal(segment)) break;
      }
      const begin = segment === first ? segment.numberAt(atMs) : 0;
      for (let number = begin; number < segment.fragments.length && budgetS > 0; number += 1) {
        const { startMs, endMs } = segment.fragments[number];
        if (!this.#has(segment, number)) {
          await this.#load(segment, number, number === begin && segment === first, signal);
          await this.#letGo(horizonS);
          return true;
        }
        budgetS -= (endMs - Math.max(startMs, segment === first ? atMs : startMs)) / 1000;
        horizonS = this.#seconds(endMs);
      }
      if (segment.growing) break;
    }
    return false;
  }

  /** Fetches the fragments from `first` on and hands them to the decoder; each begins with a keyframe. */
  async #load(segment, first, isUrgent, signal) {
    const list = segment.fragments;
    let end = first + 1;
    const limitMs = list[first].startMs + (isUrgent ? FIRST_REQUEST_S : REQUEST_S) * 1000;
    while (end < list.length && list[end].endMs <= limitMs && !this.#has(segment, end)) end += 1;
    // of one that has grown since, only what is new, if the decoder has just had the rest
    const isLast = this.last === keyOf(segment, first) && this.#buffered(this.#seconds(list[first].startMs) + INTO_S);
    const offset = list[first].offset + (isLast ? this.loaded.get(this.last)?.size ?? 0 : 0);
    const data = await this.index.bytes(segment, offset, list[end - 1].offset + list[end - 1].size - offset, signal);
    await this.#append(segment, data, signal);
    for (let number = first; number < end; number += 1) this.#note(segment, number);
    this.#seekAgain();
  }

  /** A browser may take the picture after a gap of a frame for the one that was sought: now the right one is there. */
  #seekAgain() {
    if (this.soughtS === null || !this.#buffered(this.soughtS)) return;
    const { video } = this;
    if (!video.seeking && video.paused && Math.abs(video.currentTime - this.soughtS) < INTO_S) video.currentTime = this.soughtS;
    this.soughtS = null;
  }

  async #append(segment, data, signal) {
    if (this.initOf !== segment.id) {
      const init = await this.index.bytes(segment, segment.init.offset, segment.init.size, signal);
      if (!this.buffer) this.buffer = this.source.addSourceBuffer(segment.mime);
      else if (this.mime !== segment.mime) this.buffer.changeType(segment.mime);
      this.mime = segment.mime;
      this.buffer.timestampOffset = this.#seconds(segment.startMs);
      await this.#put(init);
      this.initOf = segment.id;
    }
    await this.#put(data);
  }

  async #put(data) {
    try {
      this.buffer.appendBuffer(data);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      await this.#remove(0, Math.max(0, this.video.currentTime - 4));
      this.buffer.appendBuffer(data);
    }
    await this.#settled();
  }

  #note(segment, number) {
    const { startMs, endMs, size } = segment.fragments[number];
    const part = { startS: this.#seconds(startMs), endS: this.#seconds(endMs), size, hollow: false };
    part.hollow = !this.#buffered((part.startS + part.endS) / 2);
    this.loaded.set(keyOf(segment, number), part);
    this.last = keyOf(segment, number);
  }

  /** Whether a fragment is in the buffer: the browser may have let it go by itself. */
  #has(segment, number) {
    const key = keyOf(segment, number);
    const part = this.loaded.get(key);
    if (part?.size !== segment.fragments[number].size) return false; // not there, or it has grown since
    if (part.hollow || this.#buffered((part.startS + part.endS) / 2)) return true;
    this.loaded.delete(key);
    return false;
  }

  /** Keeps about a minute: memory does not grow with the number of seeks. */
  async #letGo(horizonS) {
    const position = this.video.currentTime;
    await this.#remove(0, position - BEHIND_S);
    await this.#remove(Math.max(position + FAR_S, horizonS + REQUEST_S * 2), Infinity);
  }

  async #remove(fromS, toS) {
    const ranges = this.buffer?.buffered;
    if (!ranges?.length || toS <= fromS || ranges.start(0) >= toS || ranges.end(ranges.length - 1) <= fromS) return;
    this.buffer.remove(Math.max(0, fromS), toS);
    await this.#settled();
    for (const [key, part] of this.loaded) {
      if (part.endS > fromS && part.startS < toS) this.loaded.delete(key);
    }
  }

  /** The position is in a fragment that is loaded, but no picture lies there: on to where one does. Null: it is not so. */
  async #skipHole(segment, atMs, signal) {
    const position = this.video.currentTime;
    if (!segment.fragments.length || (this.#buffered(position) && !this.#isStuck(position))) return null;
    const number = segment.numberAt(atMs);
    if (!this.#has(segment, number)) return null;
    const limitS = this.#seconds(segment.fragments[number].endMs) + HOLE_S;
    const ranges = this.video.buffered;
    for (let place = 0; place < ranges.length; place += 1) {
      const start = ranges.start(place);
      if (start > position && start < limitS) return this.#moveTo(start);
    }
    if (number + 1 < segment.fragments.length) return null; // what follows is to be loaded first
    const next = segment.growing ? null : await this.index.after(segment, signal);
    return next ? this.#moveTo(this.#seconds(next.startMs)) : this.#pastTheEnd(segment.endMs, signal);
  }

  /** Playing stops some milliseconds before the end of what is there. */
  #isStuck(position) {
    const near = Math.max(STUCK_S, 1.5 / this.fps);
    return !this.video.paused && this.video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && !this.#buffered(position + near);
  }

  async #leaveGap(next, atMs, signal) {
    const previous = this.backwards ? await this.index.before(atMs, signal) : null;
    this.backwards = false;
    return this.#moveTo(previous ? this.#lastPicture(previous) : this.#seconds(next.startMs));
  }

  #moveTo(seconds) {
    this.video.currentTime = seconds + INTO_S;
    return true;
  }

  #lastPicture(segment) {
    return this.#seconds(segment.endMs) - 0.5 / segment.fps - INTO_S;
  }

  /** Nothing is recorded from here on: the last picture stays, and a recording that grows is waited for. */
  async #pastTheEnd(atMs, signal) {
    const last = await this.index.before(atMs, signal);
    if (!last) {
      this.report({ kind: "empty", message: `Nothing is recorded of ${this.index.camera} here.` });
      return false;
    }
    if (this.#refused(last)) return false;
    const isLive = last.growing || Date.now() - last.endMs < 30_000;
    const endS = this.#seconds(last.endMs);
    const isBeyond = this.video.currentTime > endS + TOUCHING_S;
    if (isBeyond) this.#moveTo(this.#lastPicture(last));
    this.endS = this.video.currentTime;
    this.report(isLive
      ? { kind: "waiting", message: "Waiting for the recording to go on…" }
      : { kind: "ended", message: "The recording ends here." });
    return isBeyond;
  }

  #refusal(segment) {
    if (segment.refusal) return segment.refusal;
    if (segment.mime && segment.fragments && !plays(segment.mime)) {
      return "This browser cannot play this recording. Export the clip to see it elsewhere.";
    }
    return null;
  }

  #refused(segment) {
    const message = this.#refusal(segment);
    if (message) this.report({ kind: "refused", message });
    return message !== null;
  }

  /** One quiet second try; then the person decides. */
  async #survive(error) {
    const problem = this.video.error ? new Error("The recording cannot be decoded here.") : error;
    this.failures += 1;
    if (this.video.error || this.failures > 1) throw problem;
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }

  #seconds(ms) {
    return (ms - this.originMs) / 1000;
  }

  #buffered(seconds) {
    const ranges = this.video.buffered;
    for (let place = 0; place < ranges.length; place += 1) {
      if (seconds >= ranges.start(place) - INTO_S / 2 && seconds < ranges.end(place)) return true;
    }
    return false;
  }

  async #settled() {
    if (this.buffer.updating) await once(this.buffer, "updateend", this.stopped.signal);
    if (this.video.error) throw new Error(this.video.error.message);
  }

  /** Something has changed: look at once. */
  wake = () => {
    this.isAwake = true;
    this.endIdle();
  };

  async #idle() {
    const pause = new Promise((resolve) => {
      this.endIdle = resolve;
      setTimeout(resolve, IDLE_MS);
    });
    if (!this.isAwake) await pause;
    this.isAwake = false;
  }
}

const keyOf = (segment, number) => `${segment.id}:${number}`;

function once(target, kind, signal) {
  return new Promise((resolve, reject) => {
    target.addEventListener(kind, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("closed", "AbortError")), { once: true });
  });
}
