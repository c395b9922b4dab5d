// The player where Media Source Extensions are missing: one recording after the other as HLS, by the browser itself.

const START_PATIENCE_MS = 15_000;

/** Whether this browser plays HLS by itself. */
export const playsHls = (video) => video.canPlayType("application/vnd.apple.mpegurl") !== "";

export class HlsFeed {
  constructor(video, index, report) {
    this.video = video;
    this.index = index;
    this.report = report;
    this.originMs = index.fromMs;
    this.fps = 25; // of what is shown
    this.segment = null;
    this.stopped = new AbortController();
    this.fail = () => {};
    const { signal } = this.stopped;
    video.addEventListener("ended", () => this.#next(), { signal });
    video.addEventListener("playing", () => this.report({ kind: "ready" }), { signal });
  }

  /** See MediaSourceFeed. */
  run(atMs) {
    return new Promise((resolve, reject) => {
      this.fail = reject;
      this.stopped.signal.addEventListener("abort", resolve, { once: true });
      this.seek(atMs);
    });
  }

  /** See MediaSourceFeed. */
  seek(ms, backwards = false) {
    const isHere = this.segment && ms >= this.segment.startMs && ms < this.segment.endMs;
    if (isHere) this.video.currentTime = (ms - this.originMs) / 1000;
    else this.#open(ms, backwards).catch((error) => this.#failed(error));
  }

  close() {
    this.stopped.abort();
    this.video.removeAttribute("src");
    this.video.load();
  }

  async #open(ms, backwards) {
    const { signal } = this.stopped;
    const wasPlaying = this.segment !== null && (!this.video.paused || this.video.ended);
    this.report({ kind: "loading" });
    let segment = await this.index.from(ms, signal);
    if (!segment || (backwards && segment.startMs > ms)) segment = (await this.index.before(ms, signal)) ?? segment;
    if (!segment) return this.report({ kind: "empty", message: `Nothing is recorded of ${this.index.camera} here.` });
    if (segment.refusal) return this.report({ kind: "refused", message: segment.refusal });
    this.segment = segment;
    this.originMs = segment.startMs;
    this.fps = segment.fps;
    this.video.src = `/api/recordings/${segment.id}/playlist.m3u8`;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(START_PATIENCE_MS)]);
    await new Promise((resolve, reject) => {
      this.video.addEventListener("loadedmetadata", resolve, { once: true, signal: limit });
      this.video.addEventListener("error", () => reject(new Error("The recording cannot be played here.")), { once: true, signal: limit });
      limit.addEventListener("abort", () => reject(new Error("The console does not answer.")), { once: true });
    });
    this.video.currentTime = Math.min(Math.max(0, (ms - segment.startMs) / 1000), this.video.duration - 0.02);
    this.report({ kind: "ready" });
    if (wasPlaying) await this.video.play();
    return undefined;
  }

  async #next() {
    const next = await this.index.after(this.segment, this.stopped.signal).catch((error) => this.#failed(error));
    if (next) this.seek(next.startMs);
    else if (next === null) this.report({ kind: "ended", message: "The recording ends here." });
  }

  #failed(error) {
    if (!this.stopped.signal.aborted) this.fail(error);
  }
}
