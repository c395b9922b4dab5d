// The controls under the picture, its clock, and what is said over it.

import { h, replace, setText } from "./dom.js";
import { clockSeconds, fullDay } from "./format.js";
import { icon } from "./icons.js";
import { SPEEDS } from "./player.js";
import { announce, toast } from "./toast.js";

const OVER_PICTURE = new Set(["empty", "refused", "error"]);

/** 14:05:09.240 */
const clockMilliseconds = (ms) => `${clockSeconds(ms)}.${String(Math.floor(((ms % 1000) + 1000) % 1000)).padStart(3, "0")}`;

/** The picture and its bar. `calls`: {person(direction), recent(), exportHere()}; exportHere null where not allowed. */
export class Stage {
  constructor(player, video, calls) {
    this.player = player;
    this.video = video;
    this.calls = calls;
    this.over = h("div", { class: "watch-over", role: "status", hidden: true });
    this.loading = h("div", { class: "loading watch-loading", hidden: true });
    this.hint = h("p", { class: "watch-hint", hidden: true });
    this.picture = h("div", { class: "watch-picture", onclick: () => player.toggle(), ondblclick: () => this.fullscreen() },
      video, this.loading, this.hint, this.over);
    this.element = h("section", { class: "watch", "aria-label": "Picture" }, this.picture, this.#bar());
    player.addEventListener("state", () => this.#state());
    player.addEventListener("frame", () => this.#time());
    player.addEventListener("rate", () => this.#rate());
    document.addEventListener("fullscreenchange", () => this.#screen());
    this.#rate();
    this.#time();
  }

  /** Whole screen, or back. */
  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => toast("Full screen is not allowed here."));
    else this.video.webkitEnterFullscreen?.();
  }

  /** One speed up (1) or down (-1). */
  faster(direction) {
    const next = SPEEDS[SPEEDS.indexOf(this.player.speed) + direction];
    if (!next) return;
    this.player.speed = next;
    announce(`Speed ${next}`);
  }

  #bar() {
    const { player, calls } = this;
    const button = (name, label, keys, run, words = null) => h("button", {
      class: words ? "button quiet" : "button quiet icon-only", type: "button", title: `${label} (${keys})`, "aria-label": label, onclick: run,
    }, icon(name, 18), words);
    this.play = h("button", { class: "button watch-play icon-only", type: "button", onclick: () => player.toggle() });
    this.speed = h("select", { class: "watch-speed", "aria-label": "Speed", title: "Speed ([ and ])", onchange: () => { player.speed = Number(this.speed.value); } },
      SPEEDS.map((speed) => h("option", { value: speed }, `${speed}×`)));
    this.screen = button("fullscreen", "Full screen", "F", () => this.fullscreen());
    this.date = h("span", { class: "dim" });
    this.clock = h("span", { class: "watch-clock" });
    const bar = h("div", { class: "watch-bar", role: "group", "aria-label": "Playing" },
      h("div", { class: "watch-buttons" },
        button("previous", "Previous person", "P", () => calls.person(-1)),
        button("stepBack", "One frame back", ",", () => player.step(-1)),
        this.play,
        button("stepForward", "One frame on", ".", () => player.step(1)),
        button("next", "Next person", "N", () => calls.person(1))),
      h("p", { class: "watch-time", role: "timer", "aria-label": "Time of the picture" }, this.clock, this.date),
      h("div", { class: "watch-more" },
        this.speed,
        button("jump", "Two minutes ago", "R", () => calls.recent(), "2 min ago"),
        this.screen));
    // a click leaves the focus where it was: Space then still plays, and does not press the button again
    bar.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });
    return bar;
  }

  #rate() {
    const { paused } = this.player;
    if (this.play.dataset.paused !== String(paused)) {
      this.play.dataset.paused = paused;
      replace(this.play, icon(paused ? "play" : "pause", 18));
      this.play.setAttribute("aria-label", paused ? "Play" : "Pause");
      this.play.title = paused ? "Play (Space)" : "Pause (Space)";
    }
    this.speed.value = String(this.player.speed);
  }

  #time() {
    const ms = this.player.frameMs;
    setText(this.clock, ms === null ? "–" : clockMilliseconds(ms));
    setText(this.date, ms === null ? "" : fullDay(ms));
  }

  #state() {
    const { kind, message } = this.player.state;
    this.#time();
    this.loading.hidden = kind !== "loading";
    this.hint.hidden = kind !== "waiting" && kind !== "ended";
    setText(this.hint, message);
    this.over.hidden = !OVER_PICTURE.has(kind);
    if (this.over.hidden) return;
    const action = (label, run) => h("button", { class: "button", type: "button", onclick: (event) => { event.stopPropagation(); run(); } }, label);
    replace(this.over,
      icon(kind === "empty" ? "recordings" : "alert", 22),
      h("p", {}, message),
      kind === "error" && action("Try again", () => this.player.retry()),
      kind === "refused" && this.calls.exportHere && action("Export a minute around here", this.calls.exportHere));
  }

  #screen() {
    const isFull = document.fullscreenElement === this.element;
    const words = isFull ? "Leave full screen" : "Full screen";
    replace(this.screen, icon(isFull ? "exitFullscreen" : "fullscreen", 18));
    this.screen.setAttribute("aria-label", words);
    this.screen.title = `${words} (F)`;
  }
}
