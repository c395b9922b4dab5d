// The timeline: a row a camera, what is recorded, how many people, where the picture was obscured; zoom, pan, scrub.

import { h, keyed, setStyle, setText } from "./dom.js";
import { clock, clockSeconds, clockTenths, day, duration, plural } from "./format.js";
import { icon } from "./icons.js";
import { Palette, drawTimeline } from "./timeline-draw.js";
import { TimelineData } from "./timeline-data.js";
import { Scale } from "./timeline-scale.js";

const MOVED_PX = 5; // less is a click
const PAN_PART = 0.5; // of the view, by key
const ZOOM_STEP = 0.6;
const SPOKEN_MS = 1000; // between two changes of what a screen reader may say
const NOW_MS = 5000;

/**
 * Calls: onSeek(camera, ms), onView(scale) after the view has moved, onMarks({inMs, outMs}), onCamera(camera).
 * `element` goes into the page.
 */
export class Timeline {
  constructor({ signal, view, onSeek, onView, onMarks, onCamera, onError }) {
    Object.assign(this, { onSeek, onView, onMarks, onCamera });
    this.cameras = [];
    this.camera = null;
    this.atMs = null;
    this.marks = { inMs: null, outMs: null };
    this.scale = new Scale(view.fromMs, view.toMs, 1);
    this.pointers = new Map();
    this.gesture = null;
    this.drawing = 0;
    this.spokenAt = 0;
    this.#build(signal);
    this.palette = new Palette(this.plot);
    this.data = new TimelineData(signal, (error) => {
      onError(error);
      this.#viewed();
    });
    this.#listen(signal);
  }

  #build() {
    const zoom = (name, label, key, direction) => h("button", {
      type: "button", title: `${label} (${key})`, "aria-label": label, onclick: () => this.zoom(direction),
    }, icon(name));
    this.names = h("div", { class: "timeline-names", role: "group", "aria-label": "Camera that is played" });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.head = h("div", { class: "timeline-head", "aria-hidden": "true" });
    this.cut = h("div", { class: "timeline-cut", "aria-hidden": "true", hidden: true });
    this.handles = Object.fromEntries(["inMs", "outMs"].map((name) => [name, h("div", {
      class: "timeline-mark", dataset: { mark: name }, title: name === "inMs" ? "Start of the clip (I)" : "End of the clip (O)", hidden: true,
    })]));
    this.tip = h("div", { class: "timeline-tip", "aria-hidden": "true", hidden: true });
    this.summary = h("p", { class: "unseen", id: "timeline-summary" });
    this.plot = h(
      "div",
      {
        class: "timeline-plot", role: "slider", tabindex: "0", "aria-label": "Position in the recordings",
        "aria-orientation": "horizontal", "aria-describedby": "timeline-summary", "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": 0,
      },
      this.canvas, this.cut, this.handles.inMs, this.handles.outMs, this.head, this.tip,
    );
    this.element = h("div", { class: "timeline" },
      h("div", { class: "timeline-side" },
        h("div", { class: "timeline-zoom" }, zoom("zoomOut", "Show more time", "−", -1), zoom("zoomIn", "Show less time", "+", 1)),
        this.names),
      this.plot, this.summary);
  }

  #listen(signal) {
    const on = (kind, call, options = {}) => this.plot.addEventListener(kind, call, { signal, ...options });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#up(event, true));
    on("pointerleave", () => { this.tip.hidden = true; });
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("keydown", (event) => this.#key(event));
    const sizes = new ResizeObserver(() => this.#measure());
    sizes.observe(this.plot);
    const restyle = () => { this.palette.read(); this.redraw(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle, { signal });
    const themes = new MutationObserver(restyle);
    themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const clockTimer = setInterval(() => { if (this.scale.has(Date.now())) this.redraw(); }, NOW_MS);
    signal.addEventListener("abort", () => {
      sizes.disconnect();
      themes.disconnect();
      clearInterval(clockTimer);
      cancelAnimationFrame(this.drawing);
      clearTimeout(this.describing);
    });
  }

  /** Which rows there are. */
  setCameras(cameras) {
    this.cameras = cameras;
    this.element.style.setProperty("--rows", cameras.length);
    keyed(this.names, cameras, (camera) => camera,
      (camera) => h("button", { class: "timeline-name", type: "button", title: camera, onclick: () => this.onCamera(camera) }, camera),
      (button, camera) => button.setAttribute("aria-pressed", String(camera === this.camera)));
    this.#viewed();
  }

  /** The row that is played. */
  setCamera(camera) {
    this.camera = camera;
    this.setCameras(this.cameras);
  }

  /** The playhead; null hides it. */
  setPosition(ms) {
    this.atMs = ms;
    this.head.hidden = ms === null || !this.scale.has(ms);
    if (!this.head.hidden) this.#place(this.head, ms);
    this.#speak();
  }

  setMarks(marks) {
    this.marks = marks;
    this.#placeMarks();
  }

  setView(fromMs, toMs) {
    this.#look(new Scale(fromMs, toMs, this.scale.width));
  }

  /** Moves the view so that a time is in it, a fifth from its left. */
  follow(ms) {
    if (this.gesture || this.scale.has(ms)) return;
    this.#look(this.scale.panned(ms - this.scale.fromMs - this.scale.spanMs * 0.2));
  }

  /** direction 1: nearer. Around the playhead where it is in view. */
  zoom(direction) {
    const middle = (this.scale.fromMs + this.scale.toMs) / 2;
    const around = this.atMs !== null && this.scale.has(this.atMs) ? this.atMs : middle;
    this.#look(this.scale.zoomed(direction > 0 ? ZOOM_STEP : 1 / ZOOM_STEP, around));
  }

  /** Draws once before the next frame, however often it is called. */
  redraw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = requestAnimationFrame(() => {
      drawTimeline(this.canvas, this.palette, { scale: this.scale, cameras: this.cameras, camera: this.camera, data: this.data, nowMs: Date.now() });
    });
  }

  #measure() {
    const { clientWidth: width } = this.plot;
    if (!width) return;
    this.palette.read();
    this.scale = new Scale(this.scale.fromMs, this.scale.toMs, width);
    this.#viewed();
  }

  #look(scale) {
    this.scale = scale;
    this.#viewed();
    this.onView(scale);
  }

  #viewed() {
    if (this.scale.width > 1) this.data.want(this.scale, this.cameras);
    this.setPosition(this.atMs);
    this.#placeMarks();
    this.redraw();
    clearTimeout(this.describing);
    this.describing = setTimeout(() => this.#describe(), SPOKEN_MS);
  }

  #place(element, ms) {
    element.style.transform = `translateX(${this.scale.x(ms).toFixed(2)}px)`;
  }

  #placeMarks() {
    const { inMs, outMs } = this.marks;
    for (const [name, handle] of Object.entries(this.handles)) {
      const ms = this.marks[name];
      handle.hidden = ms === null || !this.scale.has(ms);
      if (!handle.hidden) this.#place(handle, ms);
    }
    const isCut = inMs !== null && outMs !== null && outMs > this.scale.fromMs && inMs < this.scale.toMs;
    this.cut.hidden = !isCut;
    if (!isCut) return;
    const left = Math.max(0, this.scale.x(inMs));
    const right = Math.min(this.scale.width, this.scale.x(outMs));
    setStyle(this.cut, { transform: `translateX(${left.toFixed(2)}px)`, width: `${Math.max(0, right - left).toFixed(2)}px` });
  }

  // --- pointers: the axis scrubs, the rows pan, two fingers zoom, a mark is dragged ---

  #at(event) {
    const box = this.plot.getBoundingClientRect();
    const { axisPx, rowPx } = this.palette;
    const x = Math.min(Math.max(0, event.clientX - box.left), this.scale.width);
    const row = Math.floor((event.clientY - box.top - axisPx) / rowPx);
    return { x, ms: this.scale.ms(x), camera: this.cameras[row] ?? null, onAxis: event.clientY - box.top < axisPx };
  }

  #down(event) {
    if (event.button !== 0) return;
    this.plot.setPointerCapture(event.pointerId);
    const { x, onAxis, camera } = this.#at(event);
    this.pointers.set(event.pointerId, x);
    const mark = event.target.closest?.(".timeline-mark")?.dataset.mark;
    if (this.pointers.size === 2) this.gesture = { kind: "pinch", scale: this.scale, start: [...this.pointers.values()] };
    else if (mark) this.gesture = { kind: "mark", mark };
    else this.gesture = { kind: onAxis ? "scrub" : "pan", x, camera, scale: this.scale, moved: false };
    if (this.gesture.kind === "scrub") this.onSeek(this.camera, this.#at(event).ms);
  }

  #move(event) {
    const place = this.#at(event);
    this.#tell(place);
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, place.x);
    const gesture = this.gesture;
    if (gesture?.kind === "pinch") this.#pinch(gesture);
    else if (gesture?.kind === "mark") this.onMarks({ ...this.marks, [gesture.mark]: place.ms });
    else if (gesture?.kind === "scrub") this.onSeek(this.camera, place.ms);
    else if (gesture) {
      gesture.moved ||= Math.abs(place.x - gesture.x) > MOVED_PX;
      if (gesture.moved) this.#look(gesture.scale.panned(gesture.scale.ms(gesture.x) - gesture.scale.ms(place.x)));
    }
  }

  #pinch({ scale, start }) {
    const now = [...this.pointers.values()];
    if (now.length < 2) return;
    const factor = Math.max(8, Math.abs(start[0] - start[1])) / Math.max(8, Math.abs(now[0] - now[1]));
    const around = scale.ms((start[0] + start[1]) / 2);
    const zoomed = scale.zoomed(factor, around);
    this.#look(zoomed.panned(around - zoomed.ms((now[0] + now[1]) / 2)));
  }

  #up(event, isCancelled = false) {
    if (!this.pointers.delete(event.pointerId)) return;
    const gesture = this.gesture;
    if (this.pointers.size) return; // the other finger of a pinch
    this.gesture = null;
    if (gesture?.kind === "pan" && !gesture.moved && !isCancelled) this.onSeek(gesture.camera ?? this.camera, this.#at(event).ms);
  }

  #wheel(event) {
    event.preventDefault();
    const across = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (across) this.#look(this.scale.panned(((across * pixels) / this.scale.width) * this.scale.spanMs));
    else this.#look(this.scale.zoomed(Math.exp(Math.max(-1, Math.min(1, event.deltaY * pixels * 0.002))), this.#at(event).ms));
  }

  /** Arrows alone, + and - belong to the page: they work everywhere on it. */
  #key(event) {
    const pan = { ArrowLeft: -PAN_PART, ArrowRight: PAN_PART }[event.shiftKey ? event.key : ""]
      ?? { PageUp: -PAN_PART, PageDown: PAN_PART }[event.key];
    const row = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (pan) this.#look(this.scale.panned(pan * this.scale.spanMs));
    else if (row && this.cameras.length) {
      const next = this.cameras[this.cameras.indexOf(this.camera) + row];
      if (next) this.onCamera(next);
    } else if (event.key === "Home") this.onSeek(this.camera, this.scale.fromMs);
    else if (event.key === "End") this.onSeek(this.camera, Math.min(Date.now(), this.scale.toMs));
    else return;
    event.preventDefault();
  }

  // --- words ---

  #tell({ x, ms, camera }) {
    const known = this.data.at(camera, ms);
    const isCoarse = this.scale.spanMs > 600_000;
    const count = !known ? "" : !known.recorded ? "not recorded" : plural(known.people, "person", "people");
    const obscured = known?.obscured ? `, ${plural(known.obscured, "frame")} obscured` : "";
    setText(this.tip, [isCoarse ? clockSeconds(ms) : clockTenths(ms), count && `${camera}: ${count}${obscured}`].filter(Boolean).join("   "));
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2;
    const left = Math.min(Math.max(x, half), Math.max(half, this.scale.width - half));
    this.tip.style.transform = `translateX(calc(${left.toFixed(1)}px - 50%))`;
  }

  #speak() {
    const now = performance.now();
    if (this.atMs === null || now - this.spokenAt < SPOKEN_MS) return;
    this.spokenAt = now;
    const known = this.data?.at(this.camera, this.atMs);
    const people = known?.recorded ? `, ${plural(known.people, "person", "people")}` : "";
    this.plot.setAttribute("aria-valuemin", Math.round(this.scale.fromMs / 1000));
    this.plot.setAttribute("aria-valuemax", Math.round(this.scale.toMs / 1000));
    this.plot.setAttribute("aria-valuenow", Math.round(this.atMs / 1000));
    this.plot.setAttribute("aria-valuetext", `${this.camera}, ${day(this.atMs)} ${clockSeconds(this.atMs)}${people}`);
  }

  #describe() {
    const { fromMs, toMs } = this.scale;
    const parts = this.cameras.map((camera) => `${camera}: ${duration(this.data.secondsIn(camera, fromMs, toMs))} recorded`);
    setText(this.summary, `Shown: ${day(fromMs)} ${clock(fromMs)} to ${day(toMs)} ${clock(toMs)}. ${parts.join(". ")}. `
      + "Arrow keys move by a second, Shift and an arrow move the view, plus and minus zoom, up and down change the camera.");
  }
}
