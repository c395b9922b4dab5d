// How the console and its cameras are: readiness, facts of every camera, what this browser can play.

import { ApiError } from "./api.js";
import { stateOf, watchCameras } from "./cameras.js";
import { h, replace } from "./dom.js";
import { clockSeconds, number, tenth } from "./format.js";
import { icon } from "./icons.js";
import { sinkList } from "./live-camera.js";
import { href } from "./router.js";
import { has, site } from "./session.js";

const READY_POLL_MS = 5000;
const H264 = 'video/mp4; codecs="avc1.42C01F"';
const H265 = 'video/mp4; codecs="hvc1.1.6.L93.B0"';

/** #/system */
export async function render(root, params, signal) {
  const ready = h("div", { class: "panel-body" });
  const cameras = h("div", { class: "stack" });
  const dot = (good) => h("span", { class: "dot", dataset: { state: good ? "up" : "down" } });

  replace(root, h("div", { class: "page" },
    h("header", { class: "page-head" }, h("h1", {}, "System"), h("p", { class: "subtitle" }, `Bauta ${site().version}, ${site().site}`)),
    h("div", { class: "system-panels" },
      panel("Readiness", ready),
      panel("This browser", h("div", { class: "panel-body" }, h("dl", { class: "facts" }, browserFacts()))),
      panel("For programs", h("div", { class: "panel-body" }, h("ul", { class: "stack" },
        link("/api/docs", "API, page by page"), link("/openapi.json", "OpenAPI description"),
        link("/healthz", "Liveness"), link("/readyz", "Readiness"), has("admin") && link("/metrics", "Metrics for Prometheus"))))),
    cameras));

  let down = []; // of those that should deliver: a camera that is down does not make the console unready
  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/readyz", { signal, cache: "no-store" }); // 503 has the same body, and that is the news
      const { database, index, silent, cameras: named } = await answer.json();
      const line = (name, good, words) => [h("dt", {}, name), h("dd", { class: "system-line" }, dot(good), words)];
      replace(ready, h("dl", { class: "facts" },
        line("Database", database, database ? "answers" : "does not answer"),
        line("Index", index, index ? "keeps up with the recordings" : "does not run"),
        line("Feed", !silent, silent ? `silent: ${named?.length ? named.join(", ") : silent}` : "every camera's process answers"),
        line("Cameras", !down.length, down.length ? `down: ${down.join(", ")}` : "none is down")),
      h("p", { class: "dim small figures" }, `Looked at ${clockSeconds(Date.now())}`));
    } catch (error) {
      if (!signal.aborted) replace(ready, h("p", { class: "note danger", role: "alert" }, icon("alert"), "The console does not answer."));
    }
  }
  const timer = setInterval(look, READY_POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });

  const first = new Promise((resolve, reject) => {
    watchCameras({
      signal,
      see: (all) => {
        down = all.filter((camera) => stateOf(camera)[0] === "down").map(({ id }) => id);
        replace(cameras, facts(all));
        resolve();
      },
      missing: (error) => (error instanceof ApiError && error.status === 401 ? reject(error) : resolve()),
    });
  });
  await Promise.all([look(), first]);
}

function panel(title, body) {
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, title)), body);
}

const link = (to, words) => h("li", {}, h("a", { class: "row", href: to, target: "_blank", rel: "noopener" }, icon("link", 14), words));

function browserFacts() {
  const source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
  const video = document.createElement("video");
  const rows = [
    ["Live pictures", source ? "Media Source Extensions" : video.canPlayType("application/vnd.apple.mpegurl") ? "HLS, some seconds later" : "cannot be played"],
    ["H.264", source?.isTypeSupported(H264) || video.canPlayType(H264) ? "plays" : "does not play"],
    ["H.265", source?.isTypeSupported(H265) ? "plays here; the console refuses it all the same" : "does not play"],
  ];
  return rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

function facts(all) {
  const head = (name, kind = "number") => h("th", { scope: "col", class: kind }, name);
  const ms = (value) => (value === null ? "–" : number(Math.round(value)));
  const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
  return [
    h("div", { class: "table-frame" }, h("table", { class: "table" },
      h("caption", { class: "unseen" }, "Cameras"),
      h("thead", {}, h("tr", {},
        head("Camera", ""), head("State", ""), head("Frames/s"), head("In"), head("Out"), head("Dropped"), head("Obscured"),
        head("p50 ms"), head("p95 ms"), head("Viewers"), head("Encoder", ""))),
      h("tbody", {}, all.map((camera) => {
        const [kind, word] = stateOf(camera);
        return h("tr", {},
          h("th", { scope: "row" }, h("a", { class: "row-link", href: href("live", camera.id) }, camera.id)),
          h("td", {}, h("span", { class: "system-state", title: camera.error ?? "" }, h("span", { class: "dot", dataset: { state: kind } }), word)),
          [tenth(camera.frames_per_second), number(camera.frames_in), number(camera.frames_out), number(camera.dropped),
            number(sum(camera.obscured)), ms(camera.latency_p50_ms), ms(camera.latency_p95_ms), number(camera.viewers)]
            .map((value) => h("td", { class: "number" }, value)),
          h("td", {}, camera.encoder ?? "–"));
      })))),
    all.some(({ sinks }) => sinks.length) && h("div", { class: "system-panels" },
      all.filter(({ sinks }) => sinks.length).map((camera) => panel(`${camera.id} goes to`, h("div", { class: "panel-body" }, sinkList(camera.sinks))))),
  ];
}
