// One camera on the wall: its picture, one line of facts, and what is wrong where something is.

import { isUp, obscuredWords, sinceWords, stateOf } from "./cameras.js";
import { h, newId, setText } from "./dom.js";
import { clockSeconds, day, number, plural, tenth } from "./format.js";
import { icon } from "./icons.js";
import { LivePlayer } from "./live-player.js";
import { href } from "./router.js";
import { announce } from "./toast.js";

const LEAVE_MS = 3000; // out of sight for so long: the connection ends

/** A video with a veil over it that says why there is no picture, and the player of both. */
export function makePicture(cameraId, label) {
  const words = h("p", {});
  const veil = h("div", { class: "veil" }, words);
  const video = h("video", { muted: true, autoplay: true, playsinline: true, tabindex: "-1", "aria-label": label });
  let said = null; // of the player
  let down = null; // of the camera
  const show = () => {
    const text = down ?? said;
    veil.hidden = text === null;
    setText(words, text ?? "");
    veil.classList.toggle("over-picture", video.readyState >= 2);
  };
  const player = new LivePlayer(video, cameraId, (kind, text) => {
    if (kind === "playing") said = null;
    else if (kind === "connecting") said = video.readyState >= 2 ? said : "Connecting…";
    else if (kind === "waiting") said = `Waiting for the picture${text ? `: ${text}` : "…"}`;
    else said = text;
    show();
  });
  video.addEventListener("loadeddata", show);
  video.addEventListener("playing", () => { said = null; show(); });
  show();
  return {
    element: h("div", { class: "picture" }, video, veil),
    video,
    player,
    /** Why the camera has no picture now; null where it should have one. */
    explain(text) {
      down = text;
      show();
    },
  };
}

/** Why there is no picture of this camera, as one text; null where there should be one. */
export function downWords(camera) {
  if (camera.refusal) return camera.refusal;
  if (isUp(camera)) return null;
  if (camera.state === "recorded") return "No live picture here: recordings only.";
  const [, word] = stateOf(camera);
  const since = camera.since_ms
    ? `\nsince ${day(camera.since_ms) === "today" ? "" : `${day(camera.since_ms)}, `}${clockSeconds(camera.since_ms)}, ${sinceWords(camera)}`
    : "";
  return `${word[0].toUpperCase()}${word.slice(1)}${camera.error ? `: ${camera.error}` : ""}${since}`;
}

/** A tile: {element, link, update(camera, obscured), see(visible), stop()}. */
export class Tile {
  #camera;
  #picture;
  #nodes = {};
  #leaving = 0;
  #visible = false;
  #lent = false; // the side panel plays this camera
  #lastState = null;

  constructor(camera, { onFullscreen }) {
    this.#camera = camera;
    this.#picture = makePicture(camera.id, `Live picture of ${camera.id}, faces hidden`);
    const node = (name, tag, props = {}) => (this.#nodes[name] = h(tag, props));
    const nameId = newId("tile");
    this.link = h("a", { class: "tile-link", href: href("live", camera.id), id: nameId, dataset: { camera: camera.id } }, camera.id);
    this.element = h(
      "li", { class: "tile", "aria-labelledby": nameId },
      this.#picture.element,
      node("obscured", "p", { class: "tile-obscured", hidden: true }),
      h("div", { class: "tile-line" },
        node("dot", "span", { class: "dot" }),
        this.link,
        node("state", "span", { class: "tile-state clip" }),
        node("facts", "span", { class: "tile-facts figures" },
          node("rate", "span"), node("latency", "span"), node("faces", "span"))),
      h("button", {
        class: "button icon-only tile-full", type: "button", "aria-label": `Full screen: ${camera.id}`, title: "Full screen",
        onclick: () => onFullscreen(this.element),
      }, icon("fullscreen")),
    );
    this.#nodes.facts.append(this.#nodes.rate, this.#nodes.latency, this.#nodes.faces);
  }

  get stats() {
    return this.#picture.player.stats;
  }

  /** camera: of /api/cameras; obscured: {reason: frames} of the last minute; overload: share of frames dropped, or null. */
  update(camera, obscured, overload) {
    this.#camera = camera;
    const { dot, state, rate, latency, faces, facts } = this.#nodes;
    const [kind, word] = stateOf(camera);
    const why = downWords(camera);
    const slow = isUp(camera) && overload !== null ? `too slow here: ${Math.round(overload * 100)} % of the frames dropped` : null;
    dot.dataset.state = camera.refusal || camera.alarm || slow ? "waiting" : kind;
    const trouble = camera.refusal ? "cannot be shown" : camera.alarm && isUp(camera) ? "not sealed" : slow;
    setText(state, trouble ?? word);
    state.title = camera.refusal ?? camera.alarm ?? slow ?? "";
    state.classList.toggle("look", kind === "down" || trouble !== null);
    facts.hidden = !isUp(camera) || camera.refusal !== null;
    setText(rate, `${tenth(camera.frames_per_second)} fps`);
    setText(latency, `${camera.latency_p50_ms === null ? "–" : number(Math.round(camera.latency_p50_ms))} ms`);
    latency.title = "Added latency: from decoded to encoded, median";
    setText(faces, plural(camera.faces, "face"));
    const words = obscuredWords(obscured);
    this.#nodes.obscured.hidden = words === null;
    setText(this.#nodes.obscured, words);
    this.#picture.explain(why);
    this.element.dataset.state = why ? "down" : "up";
    if (this.#lastState !== null && this.#lastState !== camera.state) {
      announce(`${camera.id}: ${word}${camera.error ? `, ${camera.error}` : ""}`);
    }
    this.#lastState = camera.state;
    this.#settle();
  }

  /** Whether somebody can see the tile now. */
  see(visible) {
    this.#visible = visible;
    this.#settle();
  }

  /** Whether the side panel shows this camera: then one player is enough. */
  lend(lent) {
    this.#lent = lent;
    if (lent) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    if (lent) this.#picture.player.stop();
    this.#settle();
  }

  #settle() {
    const { player } = this.#picture;
    const wanted = this.#visible && !this.#lent && this.#camera.live && !this.#camera.refusal;
    if (wanted) {
      clearTimeout(this.#leaving);
      this.#leaving = 0;
      if (!player.running) player.start();
    } else if (player.running && !this.#leaving) {
      this.#leaving = setTimeout(() => this.stop(), LEAVE_MS);
    }
  }

  stop() {
    clearTimeout(this.#leaving);
    this.#leaving = 0;
    this.#picture.player.stop();
  }
}
