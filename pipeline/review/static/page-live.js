// The live wall: every camera that this person may see, and one of them large where the address names it.

import { CameraHistory, isUp, watchCameras } from "./cameras.js";
import { h, keyed, replace, setText } from "./dom.js";
import { clockSeconds, plural } from "./format.js";
import { icon } from "./icons.js";
import { shortcuts } from "./keys.js";
import { CameraPanel } from "./live-camera.js";
import { Tile } from "./live-tile.js";
import { go } from "./router.js";
import { announce, toast } from "./toast.js";

const SIZE_KEY = "bauta.wall";
const SIZES = ["fit", "1", "2", "3", "4"];
const HIDDEN_MS = 3000; // the page is hidden for so long: every player disconnects
const RATIO = 9 / 16;
const SMALLEST_PX = 200; // of a tile's width: below that the wall scrolls

/** #/live and #/live/CAMERA */
export async function render(root, params, signal) {
  const wall = new Wall(root, signal);
  wall.open(params.id);
  await wall.ready;
  return ({ id }) => wall.open(id);
}

class Wall {
  #tiles = new Map();
  #history = new CameraHistory();
  #panel = null;
  #opened = null; // id of the panel's camera
  #cameras = [];
  #size = stored();
  #inSight = new WeakSet();
  #pageHidden = document.hidden;
  #missingSince = null;
  #signal;

  constructor(root, signal) {
    this.#signal = signal;
    this.count = h("p", { class: "subtitle" });
    this.clock = h("time", { class: "dim nowrap wall-clock", "aria-label": "Time of day" });
    this.problem = h("div", { hidden: true, role: "alert" });
    this.sizes = h("div", { class: "segmented", role: "group", "aria-label": "Tiles side by side" },
      SIZES.map((size) => h("button", {
        type: "button", "aria-pressed": size === this.#size, dataset: { size },
        title: size === "fit" ? "As large as all of them fit" : `${plural(Number(size), "column")}`,
        onclick: () => this.#resize(size),
      }, size === "fit" ? "Fit" : size)));
    this.list = h("ul", { class: "wall", "aria-label": "Cameras" });
    this.scroll = h("div", { class: "wall-scroll" }, this.list);
    this.side = h("div", { class: "wall-side" });
    this.stage = h("div", { class: "wall-stage" }, this.scroll, this.side);
    replace(root, h("div", { class: "page fill live-page" },
      h("header", { class: "page-head" },
        h("h1", {}, "Live"), this.count,
        h("div", { class: "actions" }, this.clock, this.sizes,
          h("button", { class: "button", type: "button", title: "The wall on the full screen (F)", onclick: () => this.#full(this.scroll) },
            icon("fullscreen"), "Full screen"))),
      this.problem,
      this.stage));

    this.ready = new Promise((resolve) => {
      signal.addEventListener("abort", resolve, { once: true });
      watchCameras({
        signal,
        see: (cameras) => { this.#see(cameras); resolve(); },
        missing: (error) => { this.#miss(error); resolve(); },
      });
    });
    this.#watchSight();
    this.#keys();
    const tick = () => setText(this.clock, clockSeconds(Date.now()));
    tick();
    const ticking = setInterval(tick, 1000);
    signal.addEventListener("abort", () => {
      clearInterval(ticking);
      for (const tile of this.#tiles.values()) tile.stop();
      this.#panel?.stop();
    }, { once: true });
  }

  /** Shows this camera large; null closes the panel. */
  open(id) {
    if (id === this.#opened) return;
    const before = this.#opened;
    this.#opened = id;
    this.#panel?.stop();
    this.#panel = id === null ? null : new CameraPanel(id, {
      onClose: () => go("live"),
      onFullscreen: (element) => this.#full(element),
    });
    replace(this.side, this.#panel?.element);
    this.stage.classList.toggle("with-panel", id !== null);
    for (const [name, tile] of this.#tiles) tile.lend(name === id);
    this.#showPanel();
    this.#fit();
    if (id === null) this.#tiles.get(before)?.link.focus();
    else this.#tiles.get(id)?.element.scrollIntoView({ block: "nearest" });
  }

  // --- facts ---

  #see(cameras) {
    this.#missingSince = null;
    this.problem.hidden = true;
    this.stage.classList.remove("stale");
    this.#cameras = cameras;
    this.#history.add(cameras);
    keyed(this.list, cameras, ({ id }) => id, (camera) => this.#add(camera),
      (element, camera) => this.#tiles.get(camera.id).update(camera, this.#history.obscured(camera.id), this.#history.overload(camera.id)));
    const known = new Set(cameras.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      if (known.has(id)) continue;
      tile.stop();
      this.#tiles.delete(id);
    }
    const up = cameras.filter(isUp).length;
    setText(this.count, up === cameras.length ? `${plural(up, "camera")}, all live` : `${up} of ${plural(cameras.length, "camera")} live`);
    if (!cameras.length) this.#showNone();
    else this.none?.remove();
    this.#showPanel();
    this.#fit();
  }

  #miss(error) {
    this.#missingSince ??= Date.now();
    this.problem.hidden = false;
    this.stage.classList.add("stale");
    const text = `${error.message} What stands here is of ${clockSeconds(this.#missingSince)}.`;
    if (this.problem.dataset.shown === text) return;
    this.problem.dataset.shown = text;
    replace(this.problem, h("p", { class: "note danger" }, icon("alert"), text));
  }

  #showNone() {
    this.none ??= h("div", { class: "empty" }, icon("cameraOff", 24),
      h("strong", {}, "No cameras"),
      h("p", {}, "None is configured, or your account may see none. An administrator can change that under Users."));
    this.scroll.append(this.none);
  }

  #showPanel() {
    if (!this.#panel || !this.#cameras.length) return;
    const camera = this.#cameras.find(({ id }) => id === this.#opened) ?? null;
    this.#panel.update(camera, this.#history.of(this.#opened));
  }

  #add(camera) {
    const tile = new Tile(camera, { onFullscreen: (element) => this.#full(element) });
    this.#tiles.set(camera.id, tile);
    tile.element.tile = tile;
    tile.lend(camera.id === this.#opened);
    this.sight.observe(tile.element);
    return tile.element;
  }

  // --- who is in sight ---

  #watchSight() {
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#inSight.add(target);
        else this.#inSight.delete(target);
      }
      this.#settle();
    }, { root: this.scroll, rootMargin: "80px" });
    const room = new ResizeObserver(() => this.#fit());
    room.observe(this.scroll);
    let hiding = 0;
    const listen = (name, call) => document.addEventListener(name, call, { signal: this.#signal });
    listen("visibilitychange", () => {
      clearTimeout(hiding);
      hiding = setTimeout(() => { this.#pageHidden = document.hidden; this.#settle(); }, document.hidden ? HIDDEN_MS : 0);
    });
    listen("fullscreenchange", () => { this.#fit(); this.#settle(); });
    this.#signal.addEventListener("abort", () => { this.sight.disconnect(); room.disconnect(); clearTimeout(hiding); }, { once: true });
  }

  #settle() {
    const full = document.fullscreenElement;
    for (const tile of this.#tiles.values()) {
      const covered = full && !full.contains(tile.element);
      tile.see(this.#inSight.has(tile.element) && !this.#pageHidden && !covered);
    }
    this.#panel?.see(!this.#pageHidden && (!full || full.contains(this.#panel.picture.element)));
  }

  // --- sizes ---

  #resize(size) {
    this.#size = size;
    try {
      localStorage.setItem(SIZE_KEY, size);
    } catch { /* private windows: it lasts as long as the page */ }
    for (const button of this.sizes.children) button.setAttribute("aria-pressed", String(button.dataset.size === size));
    this.#fit();
  }

  /** Columns and width of tiles: the chosen number, or what makes all of them largest without scrolling. */
  #fit() {
    const tiles = this.#tiles.size;
    if (!tiles) return;
    const styles = getComputedStyle(this.list);
    const gap = parseFloat(styles.columnGap);
    const around = getComputedStyle(this.scroll);
    const width = this.scroll.clientWidth - parseFloat(around.paddingLeft) - parseFloat(around.paddingRight);
    const room = this.scroll.clientHeight - parseFloat(around.paddingTop) - parseFloat(around.paddingBottom)
      - parseFloat(styles.paddingBottom);
    const line = this.list.querySelector(".tile-line").offsetHeight + 2; // and the tile's borders
    const widthAt = (columns) => (width - gap * (columns - 1)) / columns;
    let columns = this.#opened !== null ? 1 : Number(this.#size);
    let wide = columns ? widthAt(columns) : 0;
    if (!columns) {
      for (let tried = 1; tried <= tiles; tried += 1) {
        const rows = Math.ceil(tiles / tried);
        const high = (room - gap * (rows - 1)) / rows - line;
        const fits = Math.min(widthAt(tried), high / RATIO);
        if (fits > wide) [columns, wide] = [tried, fits];
      }
      if (wide < SMALLEST_PX) {
        columns = Math.max(1, Math.floor((width + gap) / (SMALLEST_PX * 1.4 + gap)));
        wide = widthAt(columns);
      }
    }
    this.columns = columns;
    this.list.style.setProperty("--columns", columns);
    this.list.style.setProperty("--tile", `${Math.floor(wide)}px`);
  }

  #full(element) {
    if (document.fullscreenElement) {
      document.exitFullscreen();
      return;
    }
    element.requestFullscreen().catch(() => toast("This browser does not allow full screen here.", "danger"));
  }

  // --- keys ---

  #keys() {
    const step = (by) => () => this.#move(by);
    const columns = () => (this.#opened === null ? this.columns : 1);
    shortcuts("Live wall", [
      { keys: "f", label: "Full screen: the wall, or the camera that is open", run: () => this.#full(this.#panel?.picture.element ?? this.scroll) },
      ...Array.from({ length: 9 }, (_, index) => ({
        keys: String(index + 1), shown: "1 … 9", label: index ? null : "Open the first … ninth camera", run: () => this.#choose(index),
      })),
      { keys: "ArrowLeft", shown: "← → ↑ ↓", label: "Move between tiles; Enter opens", run: step(-1) },
      { keys: "ArrowRight", run: step(1) },
      { keys: "ArrowUp", run: () => this.#move(-columns()) },
      { keys: "ArrowDown", run: () => this.#move(columns()) },
      { keys: "Escape", shown: "Esc", label: "Back to the wall", run: () => (this.#opened === null ? false : go("live")) },
    ], this.#signal);
  }

  #choose(index) {
    const camera = this.#cameras[index];
    if (!camera) return false;
    go("live", camera.id);
    announce(camera.id);
    return true;
  }

  /** Moves the focus by so many tiles, from wherever it was to the first. */
  #move(by) {
    const links = [...this.list.querySelectorAll(".tile-link")];
    const now = links.findIndex((link) => link.closest(".tile").contains(document.activeElement));
    const next = now < 0 ? 0 : now + by;
    if (!links[next]) return now >= 0;
    links[next].focus();
    links[next].closest(".tile").scrollIntoView({ block: "nearest" });
    return true;
  }
}

function stored() {
  try {
    const size = localStorage.getItem(SIZE_KEY);
    return SIZES.includes(size) ? size : "fit";
  } catch {
    return "fit";
  }
}
