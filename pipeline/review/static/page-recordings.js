// Recordings: a day and cameras, the picture, the timeline under it, and who was there beside it.

import { api } from "./api.js";
import { h, keyed, replace } from "./dom.js";
import { day as dayWords, duration, offsetMinutes, plural } from "./format.js";
import { icon } from "./icons.js";
import { shortcuts } from "./keys.js";
import { Selection, selectionBar } from "./people-cards.js";
import { RecordingPlayer } from "./player.js";
import { ClipBar, mayExport } from "./recordings-clip.js";
import { PeopleColumn } from "./recordings-people.js";
import { Stage } from "./recordings-transport.js";
import { remember } from "./router.js";
import { Timeline } from "./timeline.js";
import { announce, toast } from "./toast.js";

const DAY_MS = 86_400_000;
const OPEN_MS = 30 * DAY_MS; // a page may stay open for so long and still follow the recordings
const DAYS_MS = 120_000; // between two looks at which days there are
const RECENT_MS = 120_000;
const SECOND_MS = 1000;
const JUMP_MS = 10_000;
const AROUND_MS = 15 * 60_000; // shown around a moment that an address names
const SHORTEST_FIT_MS = 5 * 60_000;
const EXPORT_AROUND_MS = 30_000;
const REMEMBER_MS = 600;
const SAME_PERSON_MS = 1000; // pressing "previous" again within this goes one further
const WORK_MS = 250; // between two looks at who is in the picture
const SCRUB_MS = 90; // between two seeks of a drag

/** See main.js. Query: camera, at (Unix ms). */
export async function render(root, params, signal) {
  const days = await loadDays(signal);
  if (!days.length) {
    showNothing(root);
    return undefined;
  }
  const page = new RecordingsPage(days, signal);
  replace(root, page.element);
  await page.start(params.query);
  return (next) => page.visit(next.query);
}

async function loadDays(signal) {
  const { days } = await api.get("/api/days", { query: { offset_minutes: String(offsetMinutes()) }, signal });
  return days;
}

function showNothing(root) {
  replace(root, h("div", { class: "page" },
    h("header", { class: "page-head" }, h("h1", {}, "Recordings")),
    h("div", { class: "empty" },
      icon("recordings", 24),
      h("strong", {}, "Nothing is recorded yet"),
      h("p", {}, "Recordings appear here within a minute once a camera writes them: name a folder under ",
        h("code", {}, "record"), " in the configuration, or open one with ", h("code", {}, "bauta console FOLDER"), "."))));
}

class RecordingsPage {
  constructor(days, signal) {
    this.days = days;
    this.signal = signal;
    this.allCameras = [...new Set(days.flatMap((day) => day.cameras.map((camera) => camera.id)))].sort();
    this.cameras = this.allCameras;
    this.window = { fromMs: days.at(-1).start_ms - DAY_MS, toMs: Math.max(days[0].start_ms, Date.now()) + OPEN_MS };
    this.camera = null;
    this.shownDay = null;
    this.working = null; // timer
    this.#build();
    this.#keys();
    signal.addEventListener("abort", () => {
      clearTimeout(this.remembering);
      clearTimeout(this.scrubbing);
      clearTimeout(this.working);
      this.player.close();
    });
  }

  #build() {
    const { signal } = this;
    const video = h("video", { muted: true, playsinline: true, preload: "auto", tabindex: "-1", "aria-label": "Recorded picture with every face hidden" });
    this.player = new RecordingPlayer(video);
    this.stage = new Stage(this.player, video, {
      person: (direction) => this.nextPerson(direction),
      recent: () => this.seek(this.camera, Date.now() - RECENT_MS, { backwards: true }),
      exportHere: mayExport() ? () => this.#exportHere() : null,
    });
    this.selection = new Selection();
    this.people = new PeopleColumn({ selection: this.selection, signal, onOpen: (person, event) => this.#openPerson(person, event) });
    this.timeline = new Timeline({
      signal,
      view: { fromMs: this.days[0].start_ms, toMs: this.days[0].start_ms + DAY_MS },
      onSeek: (camera, ms) => this.#scrub(camera, ms),
      onView: () => this.#viewed(),
      onMarks: (marks) => this.clip.set(marks),
      onCamera: (camera) => this.seek(camera, this.player.at),
      onError: (error) => this.#timelineProblem(error),
    });
    this.clip = new ClipBar({ where: () => ({ camera: this.camera, atMs: this.player.frameMs }), onMarks: (marks) => this.timeline.setMarks(marks) });
    this.problem = h("p", { class: "error small", role: "alert", hidden: true });
    this.element = h("div", { class: "page fill recordings" },
      h("header", { class: "page-head" }, h("h1", {}, "Recordings"), this.#dayPicker(), this.#cameraChips(), this.problem),
      h("div", { class: "recordings-middle" },
        h("div", { class: "recordings-picture" }, this.stage.element, this.clip.element),
        h("div", { class: "recordings-people" }, this.people.element, selectionBar(this.selection, signal))),
      this.timeline.element);
    for (const kind of ["frame", "state"]) this.player.addEventListener(kind, () => this.#moved());
    this.player.addEventListener("rate", () => this.#remember());
  }

  #dayPicker() {
    this.daySelect = h("select", { "aria-label": "Day", onchange: () => this.showDay(this.days[this.daySelect.selectedIndex]) });
    const step = (name, label, by) => h("button", {
      class: "button quiet icon-only", type: "button", title: label, "aria-label": label,
      onclick: () => this.showDay(this.days[this.daySelect.selectedIndex + by]),
    }, icon(name));
    this.dayBefore = step("previous", "Day before", 1);
    this.dayAfter = step("next", "Day after", -1);
    this.#fillDays();
    const again = setInterval(() => this.#lookForDays(), DAYS_MS);
    this.signal.addEventListener("abort", () => clearInterval(again));
    return h("div", { class: "day-picker", role: "group", "aria-label": "Day" }, this.dayBefore, this.daySelect, this.dayAfter);
  }

  #fillDays() {
    const chosen = this.daySelect.selectedIndex;
    replace(this.daySelect, this.days.map((day) => {
      const seconds = Math.max(...day.cameras.map((camera) => camera.seconds));
      const people = day.cameras.reduce((sum, camera) => sum + camera.people, 0);
      const words = dayWords(day.start_ms);
      return h("option", {}, `${words[0].toUpperCase()}${words.slice(1)}: ${duration(seconds)}, ${plural(people, "track")}`);
    }));
    this.daySelect.selectedIndex = Math.max(0, chosen);
    this.shownDay = null;
  }

  /** Midnight passes while the page is open; an open list is left alone. */
  async #lookForDays() {
    if (document.visibilityState !== "visible" || document.activeElement === this.daySelect) return;
    const days = await loadDays(this.signal).catch(() => []); // the next look may find them
    if (!days.length) return;
    this.days = days;
    this.#fillDays();
    if (this.player.at !== null) this.#showDayOf(this.player.at);
  }

  #cameraChips() {
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Cameras in the timeline", hidden: this.allCameras.length < 2 });
    return this.chips;
  }

  #showChips() {
    keyed(this.chips, this.allCameras, (camera) => camera,
      (camera) => h("button", { class: "chip", type: "button", onclick: () => this.#toggleCamera(camera) }, camera),
      (chip, camera) => chip.setAttribute("aria-pressed", String(this.cameras.includes(camera))));
  }

  /** The first picture: what the address names, else the newest there is. */
  async start(query) {
    this.#setCameras(this.allCameras);
    if (query.get("at")) return this.visit(query);
    const [newest] = this.days;
    const wanted = query.get("camera");
    const camera = this.allCameras.includes(wanted) ? wanted : newest.cameras[0].id;
    await this.showDay(newest, camera);
    return undefined;
  }

  /** Another address of this page: a moment, and perhaps another camera. */
  visit(query) {
    const at = Number(query.get("at"));
    const wanted = query.get("camera");
    const camera = this.allCameras.includes(wanted) ? wanted : (this.camera ?? this.allCameras[0]);
    if (wanted && wanted !== camera) toast(`Nothing is recorded of ${wanted}.`);
    if (!Number.isFinite(at) || at <= 0) {
      if (camera !== this.camera) this.seek(camera, this.player.at ?? Date.now());
      return;
    }
    if (!this.timeline.scale.has(at) || this.camera === null) this.timeline.setView(at - AROUND_MS, at + AROUND_MS);
    this.seek(camera, at);
  }

  /** Fits a day's recordings into the view and shows the last picture of it. */
  async showDay(day, camera = this.camera) {
    if (!day) return;
    const toMs = day.start_ms + DAY_MS;
    const { cameras } = await api.get("/api/timeline", {
      query: { from_ms: day.start_ms, to_ms: toMs, cameras: this.cameras, buckets: 1 }, signal: this.signal,
    });
    const ends = cameras.flatMap((row) => row.segments).flat();
    const [first, last] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [day.start_ms, toMs];
    const spare = Math.max((SHORTEST_FIT_MS - (last - first)) / 2, (last - first) * 0.03);
    this.timeline.setView(first - spare, last + spare);
    const played = cameras.find((row) => row.id === camera && row.segments.length) ?? cameras.find((row) => row.segments.length);
    const end = played?.segments.at(-1)[1] ?? last;
    this.seek(played?.id ?? camera, Math.min(end - SECOND_MS, Math.max(Date.now() - RECENT_MS, played?.segments[0]?.[0] ?? 0)), { backwards: true });
  }

  /** Shows a moment of a camera. */
  seek(camera, ms, { backwards = false } = {}) {
    if (ms === null || camera === null) return;
    if (camera !== this.camera) {
      this.camera = camera;
      if (!this.cameras.includes(camera)) this.#setCameras([...this.cameras, camera]);
      this.timeline.setCamera(camera);
      this.player.open({ camera, ...this.window, atMs: ms });
      this.#viewed();
    } else if (this.player.at === null) {
      this.player.open({ camera, ...this.window, atMs: ms });
    } else {
      this.player.seekTo(ms, backwards);
    }
    this.timeline.follow(ms);
    this.#remember();
  }

  /** While something is dragged, not every step on the way is shown. */
  #scrub(camera, ms) {
    if (camera !== this.camera) {
      this.seek(camera, ms);
      return;
    }
    this.timeline.setPosition(ms);
    clearTimeout(this.scrubbing);
    const now = performance.now();
    const seek = () => {
      this.scrubbedAt = performance.now();
      this.seek(camera, ms);
    };
    if (now - (this.scrubbedAt ?? 0) > SCRUB_MS) seek();
    else this.scrubbing = setTimeout(seek, SCRUB_MS);
  }

  #openPerson(person, event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.seek(person.camera, person.start_ms);
  }

  /** Jumps to where the next (1) or previous (-1) person appears. */
  async nextPerson(direction) {
    const at = this.player.at;
    if (at === null) return;
    const query = { cameras: this.camera, limit: 60 };
    const ask = direction > 0
      ? { ...query, from_ms: Math.floor(at), to_ms: Math.ceil(this.window.toMs), sort: "time" }
      : { ...query, from_ms: Math.floor(this.window.fromMs), to_ms: Math.ceil(at), sort: "-time" };
    try {
      const { people } = await api.get("/api/people", { query: ask, signal: this.signal });
      const found = people.find((person) => (direction > 0 ? person.start_ms > at + 40 : person.start_ms < at - SAME_PERSON_MS));
      if (found) this.seek(this.camera, found.start_ms);
      else announce(direction > 0 ? "Nobody after this" : "Nobody before this");
    } catch (error) {
      if (!this.signal.aborted) toast(error.message, "danger");
    }
  }

  #toggleCamera(camera) {
    const cameras = this.cameras.includes(camera) ? this.cameras.filter((other) => other !== camera) : [...this.cameras, camera];
    if (!cameras.length) return;
    this.#setCameras(cameras);
    if (!cameras.includes(this.camera)) this.seek(this.cameras[0], this.player.at);
  }

  #setCameras(cameras) {
    this.cameras = this.allCameras.filter((camera) => cameras.includes(camera));
    this.timeline.setCameras(this.cameras);
    this.#showChips();
  }

  #exportHere() {
    const at = this.player.at;
    this.clip.set({ inMs: at - EXPORT_AROUND_MS, outMs: at + EXPORT_AROUND_MS });
    this.clip.export();
  }

  #timelineProblem(error) {
    this.problem.hidden = error === null;
    replace(this.problem, error?.message ?? "");
  }

  #viewed() {
    this.people.see(this.camera, this.timeline.scale, this.player.at);
  }

  /** Another picture is shown: the playhead follows it, the rest a few times a second. */
  #moved() {
    const { at } = this.player;
    if (at === null) return;
    this.timeline.setPosition(at);
    this.working ??= setTimeout(() => this.#work(), WORK_MS);
  }

  #work() {
    this.working = null;
    const { at } = this.player;
    if (at === null) return;
    if (!this.player.paused) this.timeline.follow(at);
    this.people.at(this.player.frameMs);
    this.people.see(this.camera, this.timeline.scale, at);
    this.#showDayOf(at);
  }

  #showDayOf(ms) {
    const place = this.days.findIndex((day) => ms >= day.start_ms);
    if (place < 0 || place === this.shownDay) return;
    this.shownDay = place;
    this.daySelect.selectedIndex = place;
    this.dayBefore.disabled = place >= this.days.length - 1;
    this.dayAfter.disabled = place === 0;
  }

  /** The address names what is shown, so that it can be kept or sent. */
  #remember() {
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => {
      if (this.player.at !== null) remember("recordings", null, { camera: this.camera, at: Math.round(this.player.at) });
    }, REMEMBER_MS);
  }

  #keys() {
    const { player } = this;
    const by = (ms) => () => { if (player.at !== null) this.seek(this.camera, player.at + ms, { backwards: ms < 0 }); };
    // Space presses a button that has the focus
    const isControl = (event) => event.target instanceof Element && event.target.closest("button, a, summary, input");
    shortcuts("Recordings", [
      { keys: " ", shown: "Space", label: "Play or pause", run: (event) => (isControl(event) ? false : player.toggle()) },
      { keys: "k", run: () => player.toggle() },
      { keys: "ArrowLeft", shown: "←", label: "One second back", run: by(-SECOND_MS) },
      { keys: "ArrowRight", shown: "→", label: "One second on", run: by(SECOND_MS) },
      { keys: "j", label: "Ten seconds back", run: by(-JUMP_MS) },
      { keys: "l", label: "Ten seconds on", run: by(JUMP_MS) },
      { keys: ",", label: "One frame back", run: () => player.step(-1) },
      { keys: ".", label: "One frame on", run: () => player.step(1) },
      { keys: "[", label: "Slower", run: () => this.stage.faster(-1) },
      { keys: "]", label: "Faster", run: () => this.stage.faster(1) },
      { keys: "n", label: "Next person", run: () => { this.nextPerson(1); } },
      { keys: "p", label: "Previous person", run: () => { this.nextPerson(-1); } },
      { keys: "e", label: "Next recording after a gap", run: () => this.#edge(1) },
      { keys: "w", label: "Recording before a gap", run: () => this.#edge(-1) },
      { keys: "r", label: "Two minutes ago", run: () => this.seek(this.camera, Date.now() - RECENT_MS, { backwards: true }) },
      { keys: "i", label: "Clip starts here", run: () => (mayExport() ? this.clip.mark("inMs") : false) },
      { keys: "o", label: "Clip ends here", run: () => (mayExport() ? this.clip.mark("outMs") : false) },
      { keys: "+", label: "Show less time", run: () => this.timeline.zoom(1) },
      { keys: "=", run: () => this.timeline.zoom(1) },
      { keys: "-", label: "Show more time", run: () => this.timeline.zoom(-1) },
      { keys: "f", label: "Full screen", run: () => this.stage.fullscreen() },
    ], this.signal);
  }

  #edge(direction) {
    const ms = this.timeline.data.edge(this.camera, this.player.at, direction);
    if (ms === null) announce(direction > 0 ? "No later recording is shown" : "No earlier recording is shown");
    else this.seek(this.camera, ms);
  }
}
