// Plays /live.mp4 and shows /status.json. Everything reconnects by itself.

const JUMP_SECONDS = 1.5; // farther behind than this: to the live edge
const EDGE_SECONDS = 0.25; // kept before the edge, so that a late frame does not stop the picture
const KEEP_SECONDS = 8; // of what was played; the rest leaves the browser's memory
const SILENCE_MS = 5000; // a connection that brings nothing for so long is given up
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const POLL_MS = 500;
const SPARK_POINTS = 120; // a minute of polls

const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const video = byId("video");

function veil(text) {
  const element = byId("veil");
  element.hidden = text === null;
  if (text !== null) element.textContent = text;
}

function say(text) {
  byId("announce").textContent = text;
}

// --- the picture ---

const Source = self.ManagedMediaSource ?? self.MediaSource;

class Player {
  constructor() {
    this.pause_ms = FIRST_PAUSE_MS;
  }

  async run() {
    for (;;) {
      try {
        await this.playOnce();
      } catch (error) {
        if (error instanceof Unplayable) {
          veil(error.message);
          return;
        }
        console.debug("live view:", error);
      }
      if (!video.currentTime) veil("Waiting for the picture…");
      else veil("The picture has stopped; connecting again…");
      await sleep(this.pause_ms);
      this.pause_ms = Math.min(this.pause_ms * 2, LONGEST_PAUSE_MS);
    }
  }

  async playOnce() {
    const abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE_MS + LONGEST_PAUSE_MS);
    let url = null;
    try {
      const answer = await fetch("/live.mp4", { signal: abort.signal, cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.text()).trim());
      const type = answer.headers.get("content-type");
      if (!Source.isTypeSupported(type)) {
        throw new Unplayable(`This browser cannot play ${type}.`);
      }
      const source = new Source();
      url = URL.createObjectURL(source);
      video.disableRemotePlayback = true;
      video.src = url;
      await once(source, "sourceopen", abort.signal);
      const buffer = source.addSourceBuffer(type);
      const reader = answer.body.getReader();
      for (;;) {
        const { value, done } = await reader.read();
        clearTimeout(watchdog);
        if (done) return;
        watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        await append(buffer, value);
        this.pause_ms = FIRST_PAUSE_MS;
        keepUp(buffer);
        await forget(buffer);
      }
    } finally {
      clearTimeout(watchdog);
      abort.abort();
      if (url !== null) URL.revokeObjectURL(url);
    }
  }
}

class Unplayable extends Error {}

function once(target, name, signal) {
  return new Promise((done, failed) => {
    target.addEventListener(name, done, { once: true, signal });
    signal.addEventListener("abort", () => failed(new Error(`no ${name}`)), { once: true });
  });
}

function updated(buffer) {
  return new Promise((done, failed) => {
    const stop = new AbortController();
    const listen = (name, call) => buffer.addEventListener(name, call, { signal: stop.signal });
    listen("updateend", () => { stop.abort(); done(); });
    listen("error", () => { stop.abort(); failed(new Error("the browser refused a fragment")); });
    listen("abort", () => { stop.abort(); failed(new Error("the player was taken away")); });
  });
}

async function append(buffer, bytes) {
  const end = updated(buffer);
  buffer.appendBuffer(bytes);
  await end;
}

async function forget(buffer) {
  const oldest = buffer.buffered.length ? buffer.buffered.start(0) : 0;
  if (video.currentTime - oldest < 2 * KEEP_SECONDS) return;
  const end = updated(buffer);
  buffer.remove(0, video.currentTime - KEEP_SECONDS);
  await end;
}

function keepUp(buffer) {
  const ranges = buffer.buffered;
  if (!ranges.length) return;
  const start = ranges.start(ranges.length - 1);
  const end = ranges.end(ranges.length - 1);
  const behind = end - video.currentTime;
  if (behind > JUMP_SECONDS || video.currentTime < start) {
    video.currentTime = Math.max(start, end - EDGE_SECONDS);
  }
  // a little faster is not seen; a jump is
  video.playbackRate = behind > 2 * EDGE_SECONDS ? 1.06 : 1;
  if (video.paused) video.play().catch(() => veil("Press Space to play."));
  byId("behind").textContent = `${Math.max(0, behind).toFixed(1)} s behind`;
}

video.addEventListener("playing", () => veil(null));
video.addEventListener("resize", () => {
  byId("picture").textContent = `${video.videoWidth} × ${video.videoHeight}`;
});

// --- the facts ---

const STATES = {
  connecting: "connecting to the camera",
  up: "protected and live",
  down: "camera down",
  failed: "failed",
  ended: "ended",
  gone: "Bauta has stopped",
};
const history = [];
let lastState = null;
let lastFaces = 0;
let lastFacesSaid = 0;

function show(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function showState(state, error) {
  byId("state").dataset.state = state;
  const text = (STATES[state] ?? state) + (error ? `: ${error}` : "");
  show("state-text", text);
  if (state !== lastState) say(text);
  lastState = state;
}

function showStatus(status) {
  showState(status.state, status.error);
  show("camera", status.camera);
  const number = (value, digits = 0) => (value === null ? "–" : value.toFixed(digits));
  show("latency", number(status.latency_p50_ms));
  show("latency-p95", number(status.latency_p95_ms));
  show("faces", String(status.faces));
  show("rate", number(status.frames_per_second, 1));
  show("encoder", status.encoder ?? "–");
  show("frames", String(status.frames_out));
  show("dropped", String(status.dropped_raw + status.dropped_protected));
  show("reconnects", String(status.reconnects));
  showObscured(status.obscured);
  showHistory(status);
  if (status.faces !== lastFaces && Date.now() - lastFacesSaid > 10_000) {
    lastFacesSaid = Date.now();
    lastFaces = status.faces;
    say(`${status.faces} ${status.faces === 1 ? "face" : "faces"} hidden`);
  }
}

function showObscured(reasons) {
  const entries = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  show("obscured", String(total));
  byId("obscured-figure").classList.toggle("attention", total > 0);
  const list = byId("reasons");
  const rows = entries.map(([reason, count]) => row([reason, String(count)]));
  if (!rows.length) rows.push(row(["Every frame was looked at in time."], "none"));
  if (list.dataset.shown !== JSON.stringify(entries)) {
    list.dataset.shown = JSON.stringify(entries);
    list.replaceChildren(...rows);
  }
}

function row(texts, name = "") {
  const item = document.createElement("li");
  item.className = name;
  for (const text of texts) {
    const part = document.createElement("span");
    part.textContent = text;
    item.append(part);
  }
  return item;
}

function showHistory(status) {
  history.push([status.latency_p50_ms, status.latency_p95_ms]);
  if (history.length > SPARK_POINTS) history.shift();
  const known = history.flat().filter((value) => value !== null);
  // whole hundreds, so that the scale stands still while the line moves
  const top = Math.max(200, Math.ceil(Math.max(0, ...known) / 100) * 100);
  const line = (column) => history
    .map((values, index) => [values[column], SPARK_POINTS - history.length + index])
    .filter(([value]) => value !== null)
    .map(([value, x]) => {
      const left = (x / (SPARK_POINTS - 1)) * 240;
      return `${left.toFixed(1)},${(47 - (value / top) * 46).toFixed(1)}`;
    })
    .join(" ");
  byId("spark-p50").setAttribute("points", line(0));
  byId("spark-p95").setAttribute("points", line(1));
  show("spark-top", `0 to ${top} ms`);
}

async function poll() {
  for (;;) {
    try {
      const answer = await fetch("/status.json", {
        cache: "no-store",
        signal: AbortSignal.timeout(SILENCE_MS),
      });
      if (!answer.ok) throw new Error(answer.statusText);
      showStatus(await answer.json());
    } catch {
      showState("gone", null);
    }
    await sleep(POLL_MS);
  }
}

// --- keys and clock ---

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else byId("screen").requestFullscreen().catch(() => say("Full screen is not allowed here"));
}

byId("fullscreen").addEventListener("click", toggleFullscreen);
video.addEventListener("dblclick", toggleFullscreen);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "f" || event.key === "F") toggleFullscreen();
  if (event.key === " " && event.target === video) video.play().catch(() => {});
});

function tick() {
  show("clock", new Date().toLocaleTimeString());
}

tick();
setInterval(tick, 1000);
poll();
if (Source) {
  new Player().run();
} else {
  veil("This browser cannot play a live stream (Media Source Extensions are missing). "
    + "A still picture is at /snapshot.png.");
}
