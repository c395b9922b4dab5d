// The audit log: who did what, newest first, and whether the log is whole.

import { api } from "./api.js";
import { h, replace } from "./dom.js";
import { fullDateTime, number, plural } from "./format.js";
import { icon } from "./icons.js";
import { go, href } from "./router.js";

const PAGE = 100;
const COLUMNS = new Set(["n", "time", "action", "user", "camera", "request", "case", "reason", "tracks", "site"]);
const HIDDEN = new Set(["signature", "signer", "before", "previous", "hash", "version", "bauta"]); // bauta audit verify is for these

/** #/audit?before=N */
export async function render(root, { query }, signal) {
  const load = async (params) => {
    const before = Number(params.get("before")) || null;
    draw(root, await api.get("/api/audit", { query: { limit: PAGE, before }, signal }), before);
  };
  await load(query);
  return ({ query: changed }) => load(changed);
}

function draw(root, log, before) {
  const oldest = log.entries.at(-1)?.n ?? 0;
  const newest = log.entries[0]?.n ?? 0;
  const page = (label, iconName, to, able) => h("button", {
    class: "button", type: "button", disabled: !able, onclick: () => go("audit", null, to),
  }, icon(iconName), label);
  replace(root, h("div", { class: "page" },
    h("header", { class: "page-head" },
      h("h1", {}, "Audit log"),
      h("p", { class: "subtitle figures" }, log.entries.length ? `${number(oldest)} – ${number(newest)} of ${number(log.count)}` : "empty"),
      h("nav", { class: "actions", "aria-label": "Pages of the log" },
        page("Newest", "up", {}, before !== null),
        page("Older", "down", { before: oldest }, oldest > 1))),
    verdict(log),
    log.entries.length > 0 && h("div", { class: "table-frame" }, h("table", { class: "table" },
      h("thead", {}, h("tr", {},
        h("th", { scope: "col", class: "number" }, "No."),
        ["Time", "Action", "Who", "Camera", "Request", "Case", "Reason", "More"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, log.entries.map(row))))));
}

/** Red only where the log is broken. */
function verdict(log) {
  if (!log.faults.length) {
    return h("p", { class: "note accent" }, icon("check"),
      `The log is whole: ${plural(log.count, "entry", "entries")}, each signed and bound to the one before it.`);
  }
  return h("div", { class: "note danger", role: "alert" }, icon("alert"),
    h("div", {},
      h("strong", {}, "The log is not whole. Keep the file, and find out who could write to it."),
      h("ul", {}, log.faults.map((fault) => h("li", {}, fault)))));
}

function row(entry) {
  const time = Date.parse(entry.time);
  const more = Object.entries(entry)
    .filter(([name, value]) => !COLUMNS.has(name) && !HIDDEN.has(name) && value !== null && value !== "")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${plain(value)}`);
  if (entry.tracks?.length) more.unshift(`tracks ${plain(entry.tracks)}`);
  return h("tr", {},
    h("td", { class: "number" }, number(entry.n)),
    h("td", { class: "nowrap figures", title: entry.time }, Number.isNaN(time) ? entry.time : fullDateTime(time)),
    h("td", {}, h("strong", {}, entry.action)),
    h("td", {}, entry.user ?? "–"),
    h("td", {}, entry.camera ?? ""),
    h("td", { class: "nowrap" }, entry.request ? h("a", { href: href("requests", entry.request) }, entry.request) : ""),
    h("td", {}, entry.case ?? ""),
    h("td", { class: "audit-reason" }, entry.reason ?? ""),
    h("td", { class: "dim small audit-more" }, more.join(", ")));
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(" ");
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}
