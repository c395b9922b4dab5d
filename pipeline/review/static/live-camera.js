// The side panel of one camera: its picture large, and everything that is known about it.

import { isUp, sinceWords, stateOf } from "./cameras.js";
import { h, replace, setText, svg } from "./dom.js";
import { fullDateTime, number, plural, tenth } from "./format.js";
import { icon } from "./icons.js";
import { downWords, makePicture } from "./live-tile.js";
import { href } from "./router.js";

const RECENT_MS = 120_000;
const SPARK_WIDTH = 240;
const SPARK_HEIGHT = 40;
const SPARK_STEP_MS = 100;

const ms = (value) => (value === null ? "–" : `${number(Math.round(value))} ms`);

/** {element, picture, update(camera, history), see(visible), stop()} for the camera of this id. */
export class CameraPanel {
  #id;
  #nodes = {};
  #visible = true;
  #camera = null;
  #shown = "";

  constructor(id, { onClose, onFullscreen }) {
    this.#id = id;
    this.picture = makePicture(id, `Live picture of ${id}, large, faces hidden`);
    const node = (name, tag, props = {}, ...children) => (this.#nodes[name] = h(tag, props, ...children));
    this.element = h(
      "section", { class: "camera-panel", "aria-labelledby": "camera-name" },
      h("header", { class: "panel-head" },
        h("div", { class: "row grow" },
          node("dot", "span", { class: "dot" }),
          h("h2", { id: "camera-name", tabindex: "-1", class: "clip" }, id),
          node("state", "span", { class: "dim clip" })),
        h("div", { class: "row" },
          node("recordings", "a", { class: "button", href: "#/recordings" }, icon("recordings"), "2 minutes ago"),
          h("button", {
            class: "button icon-only", type: "button", "aria-label": "Full screen", title: "Full screen (F)",
            onclick: () => onFullscreen(this.picture.element),
          }, icon("fullscreen")),
          h("button", {
            class: "button quiet icon-only", type: "button", "aria-label": "Back to the wall", title: "Back to the wall (Esc)", onclick: onClose,
          }, icon("close")))),
      this.picture.element,
      h("div", { class: "camera-body" }, node("alarm", "div", {}), node("facts", "div", { class: "camera-facts" })),
    );
    this.#nodes.recordings.addEventListener("pointerenter", () => this.#aim());
    this.#nodes.recordings.addEventListener("click", () => this.#aim());
    this.#aim();
  }

  /** The link leads to two minutes before it is pressed, not before it was drawn. */
  #aim() {
    this.#nodes.recordings.href = href("recordings", null, { camera: this.#id, at: Date.now() - RECENT_MS });
  }

  /** camera: of /api/cameras; null where there is none of this name (any more). */
  update(camera, history) {
    this.#camera = camera;
    const [kind, word] = camera ? stateOf(camera) : ["down", "no such camera"];
    this.#nodes.dot.dataset.state = kind;
    setText(this.#nodes.state, camera ? `${word} ${sinceWords(camera)}` : word);
    this.picture.explain(camera ? downWords(camera) : "There is no camera of this name, or you may not see it.");
    if (camera) this.#showFacts(camera, history);
    this.#settle();
  }

  #showFacts(camera, history) {
    const { stats } = this.picture.player;
    const obscured = Object.entries(camera.obscured).sort((a, b) => b[1] - a[1]);
    const size = camera.width ? `${camera.width} × ${camera.height}` : "–";
    const groups = [
      ["Now", [
        ["Faces hidden", String(camera.faces)],
        ["Frames per second", tenth(camera.frames_per_second)],
        ["Added latency", `${ms(camera.latency_p50_ms)} median, ${ms(camera.latency_p95_ms)} p95`],
        ["This player", stats.behindMs === null ? "–" : `${number(stats.behindMs)} ms behind, ${plural(stats.reconnects, "reconnect")}`],
        ["Viewers", String(camera.viewers)],
      ]],
      ["Stream", [
        ["Picture", size],
        ["Codec", camera.codec ?? "–"],
        ["Encoder", camera.encoder ?? "–"],
        ["Evidence", camera.evidence ? "sealed into the stream" : "none: nothing can be recovered"],
        ["Recording", camera.recording ? "yes" : "no"],
        ["State since", camera.since_ms ? fullDateTime(camera.since_ms) : "–"],
      ]],
      ["Frames since the start", [
        ["In", number(camera.frames_in)],
        ["Out", number(camera.frames_out)],
        ["Dropped", number(camera.dropped)],
        ...(obscured.length ? obscured.map(([reason, count]) => [`Obscured: ${reason}`, number(count)]) : [["Obscured", "none"]]),
      ]],
    ];
    // selections survive: what has not changed is not drawn again
    const key = JSON.stringify([groups, camera.sinks, camera.alarm, history.length && history.at(-1).at]);
    if (key === this.#shown) return;
    this.#shown = key;
    replace(this.#nodes.alarm, camera.alarm && h("p", { class: "note attention" },
      icon("alert"), `Nothing is sealed now, so nobody can be recovered from this: ${camera.alarm}`));
    replace(this.#nodes.facts, groups.map(([title, facts], index) =>
      h("section", { class: "section" },
        h("h3", {}, title),
        h("dl", { class: "facts figures" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        index === 0 && isUp(camera) && spark(history))),
    camera.sinks.length > 0 && h("section", { class: "section" }, h("h3", {}, "Goes to"), sinkList(camera.sinks)));
  }

  see(visible) {
    this.#visible = visible;
    this.#settle();
  }

  #settle() {
    const wanted = this.#visible && this.#camera?.live && !this.#camera.refusal;
    const { player } = this.picture;
    if (wanted && !player.running) player.start();
    if (!wanted && player.running && !this.#visible) player.stop();
  }

  stop() {
    this.picture.player.stop();
  }
}

const SINK_DOTS = { up: "up", waiting: "waiting", down: "down", closed: "off" };

/** Where a camera's stream goes, and how that is going. */
export function sinkList(sinks) {
  return h("ul", { class: "sinks" }, sinks.map((sink) =>
    h("li", {},
      h("span", { class: "dot", dataset: { state: SINK_DOTS[sink.state] ?? "off" } }),
      h("span", { class: "grow clip", title: sink.name }, sink.name),
      h("span", { class: "dim nowrap figures" },
        `${sink.state}, ${number(sink.written)} written${sink.dropped ? `, ${number(sink.dropped)} dropped` : ""}`),
      sink.error && h("span", { class: "error sink-error" }, sink.error))));
}

/** Added latency over the last two minutes. */
function spark(samples) {
  const known = samples.flatMap(({ p50, p95 }) => [p50, p95]).filter((value) => value !== null);
  if (known.length < 4) return null;
  // whole hundreds, so that the scale stands still while the line moves
  const top = Math.ceil(Math.max(2 * SPARK_STEP_MS, ...known) / SPARK_STEP_MS) * SPARK_STEP_MS;
  const last = samples.at(-1).at;
  const line = (name) => samples.filter((sample) => sample[name] !== null).map((sample) => {
    const x = SPARK_WIDTH * (1 - (last - sample.at) / RECENT_MS);
    return `${x.toFixed(1)},${(SPARK_HEIGHT - 1 - (sample[name] / top) * (SPARK_HEIGHT - 2)).toFixed(1)}`;
  }).join(" ");
  return h("figure", { class: "spark" },
    svg("svg", {
      viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`, preserveAspectRatio: "none", role: "img",
      "aria-label": "Added latency over the last two minutes, median and 95th percentile",
    },
    svg("polyline", { class: "spark-p95", points: line("p95") }),
    svg("polyline", { points: line("p50") })),
    h("figcaption", { class: "dim small" }, h("span", {}, "2 min ago"), h("span", {}, `0 to ${top} ms`)));
}
