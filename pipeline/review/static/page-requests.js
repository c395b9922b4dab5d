// Recovery requests: the list, and one of them with what may be done about it.

import { api, ApiError, isAbort } from "./api.js";
import { commandBox } from "./command.js";
import { h, replace } from "./dom.js";
import { ago, fullDateTime, number, span } from "./format.js";
import { icon } from "./icons.js";
import { shortcuts } from "./keys.js";
import { approve, clipLink, personCard, refuse, withdraw } from "./request-dialogs.js";
import { go, href } from "./router.js";
import { has } from "./session.js";
import { toast } from "./toast.js";

export { openRequestDialog } from "./request-dialogs.js";

const POLL_MS = 15_000;
const STATES = {
  pending: "Waiting",
  approved: "Approved",
  refused: "Refused",
  withdrawn: "Withdrawn",
  expired: "Expired",
};

/** #/requests?state=… and #/requests/ID */
export async function render(root, params, signal) {
  let inner = new AbortController();
  const show = async ({ id, query }) => {
    inner.abort();
    inner = new AbortController();
    const own = AbortSignal.any([signal, inner.signal]);
    try {
      await (id === null ? showList(root, query.get("state"), own) : showOne(root, id, own));
    } catch (error) {
      if (!own.aborted && !isAbort(error)) showProblem(root, error);
    }
  };
  await show(params);
  return show;
}

/** An amber mark only for who has to decide. */
function stateBadge(request) {
  const kind = request.may.includes("approve") ? "attention" : { approved: "accent" }[request.state] ?? "";
  return h("span", { class: `badge ${kind}` }, STATES[request.state] ?? request.state);
}

function showProblem(root, error) {
  const gone = error instanceof ApiError && error.status === 404;
  replace(root, h("div", { class: "empty", role: "alert" }, icon("alert", 24),
    h("h1", {}, gone ? "There is no such request" : "Requests cannot be shown"),
    h("p", {}, gone ? "Or it is of a camera that you may not see." : error.message),
    h("a", { class: "button", href: "#/requests" }, "All requests")));
}

// --- the list ---

async function showList(root, state, signal) {
  const chosen = state in STATES ? state : null;
  const place = h("div", { class: "stack" });
  const chip = (name, words) => h("a", {
    class: "chip", href: href("requests", null, { state: name }), "aria-current": chosen === name ? "true" : undefined,
  }, words);
  replace(root, h("div", { class: "page" },
    h("header", { class: "page-head" },
      h("h1", {}, "Recovery requests"),
      h("nav", { class: "chips", "aria-label": "Only those that are" },
        chip(null, "All"), Object.entries(STATES).map(([name, words]) => chip(name, words)))),
    place));

  const load = async () => {
    const { requests } = await api.get("/api/requests", { query: { state: chosen }, signal });
    const toDecide = requests.filter(({ may }) => may.includes("approve"));
    const others = requests.filter(({ may }) => !may.includes("approve"));
    replace(place,
      requests.length > 0 && table([["For you to decide", toDecide], ["All others", others]]),
      !requests.length && h("div", { class: "empty" }, icon("requests", 24),
        h("strong", {}, chosen ? `No request is ${STATES[chosen].toLowerCase()}` : "No requests"),
        h("p", {}, has("requester")
          ? "To see somebody's face, choose them under People or in a recording, and ask for a recovery."
          : "Requests are made by people with the role requester, under People or in a recording.")));
  };
  await load();
  const reload = () => {
    if (!document.hidden) load().catch((error) => { if (!isAbort(error)) console.debug("requests:", error.message); });
  };
  const timer = setInterval(reload, POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  document.addEventListener("bauta:requests", reload, { signal });
}

/** groups: [title, requests]; titles stand only where the first group, what one has to decide, is not empty. */
function table(groups) {
  const titled = groups[0][1].length > 0;
  return h("div", { class: "table-frame" }, h("table", { class: "table" },
    h("thead", {}, h("tr", {},
      ["Request", "State", "Case", "Camera", "Span"].map((name) => h("th", { scope: "col" }, name)),
      h("th", { scope: "col", class: "number" }, "People"),
      ["Asked by", "Asked"].map((name) => h("th", { scope: "col" }, name)))),
    groups.filter(([, requests]) => requests.length).map(([title, requests]) => h("tbody", {},
      titled && h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: "8" }, title)),
      requests.map(row)))));
}

function row(request) {
  return h("tr", {},
    h("th", { scope: "row", class: "nowrap" }, h("a", { class: "row-link", href: href("requests", request.id) }, request.id)),
    h("td", {}, stateBadge(request)),
    h("td", {}, request.case),
    h("td", { class: "nowrap" }, request.camera),
    h("td", { class: "figures" }, span(request.from_ms, request.to_ms)),
    h("td", { class: "number" }, number(request.people.length)),
    h("td", {}, request.requester),
    h("td", { class: "nowrap figures", title: fullDateTime(request.created_ms) }, ago(request.created_ms)));
}

// --- one ---

async function showOne(root, id, signal) {
  const request = await api.get(`/api/requests/${encodeURIComponent(id)}`, { signal });
  draw(root, request, signal);
  shortcuts("Request", [{ keys: "Escape", shown: "Esc", label: "Back to all requests", run: () => go("requests") }], signal);
}

function draw(root, request, signal) {
  const act = (label, iconName, kind, call, said) => h("button", {
    class: `button ${kind}`, type: "button",
    async onclick() {
      const done = await call(request);
      if (!done || signal.aborted) return;
      toast(said);
      try {
        draw(root, await api.get(`/api/requests/${encodeURIComponent(request.id)}`, { signal }), signal);
      } catch (error) {
        if (!isAbort(error)) toast(error.message, "danger");
      }
    },
  }, icon(iconName), label);
  const may = new Set(request.may);
  replace(root, h("article", { class: "page request-page" },
    h("header", { class: "page-head" },
      h("a", { class: "button quiet icon-only", href: "#/requests", "aria-label": "All requests", title: "All requests (Esc)" }, icon("previous")),
      h("h1", { tabindex: "-1" }, request.id),
      stateBadge(request),
      h("div", { class: "actions" },
        may.has("withdraw") && act("Withdraw", "close", "quiet", withdraw, `${request.id} is withdrawn.`),
        may.has("refuse") && act("Refuse", "ban", "", refuse, `${request.id} is refused.`),
        may.has("approve") && act("Approve", "check", "primary", approve, `${request.id} is approved.`))),
    h("div", { class: "request-columns" },
      h("div", { class: "stack" },
        h("section", { class: "panel" },
          h("div", { class: "panel-head" }, h("h2", {}, "Why")),
          h("div", { class: "panel-body" },
            h("p", { class: "request-reason" }, request.reason),
            h("dl", { class: "facts" },
              fact("Case", request.case),
              fact("Camera", h("a", { href: href("live", request.camera) }, request.camera)),
              fact("Span", h("a", {
                href: href("recordings", null, { camera: request.camera, at: request.from_ms }), title: "Look at it in the recordings",
              }, span(request.from_ms, request.to_ms)))))),
        h("section", { class: "panel" },
          h("div", { class: "panel-head" }, h("h2", {}, `Whose faces (${request.people.length})`), h("span", { class: "dim small" }, "Tracks; no identity is inferred")),
          h("div", { class: "panel-body" }, h("div", { class: "request-people" }, request.people.map((person) => personCard(person)))))),
      h("div", { class: "stack" },
        (may.has("file") || may.has("clip")) && carryOut(request, may),
        h("section", { class: "panel" },
          h("div", { class: "panel-head" }, h("h2", {}, "What happened")),
          h("div", { class: "panel-body" }, history(request)))))));
}

const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];

function history(request) {
  const step = (ms, title, text, kind) => h("li", { class: kind ?? "" },
    h("time", { class: "dim", datetime: new Date(ms).toISOString() }, fullDateTime(ms)),
    h("strong", {}, title),
    text && h("p", {}, text));
  const decided = { approved: "approved", refused: "refused", withdrawn: "withdrawn" };
  const now = Date.now();
  return h("ol", { class: "request-history" },
    step(request.created_ms, `${request.requester} asked`, null),
    request.decided_ms && step(request.decided_ms, `${request.decider ?? request.requester} ${decided[request.state] ?? "decided"}`,
      request.note ? `“${request.note}”` : null),
    request.state === "approved" && step(request.decided_ms ?? request.created_ms,
      request.is_lock ? "Carries a key release" : "Without a key release: advice",
      request.is_lock
        ? "Unchecked until the officer opens it."
        : "Whoever holds keys of every group can recover without it.", request.is_lock ? "" : "look"),
    ["pending", "approved", "expired"].includes(request.state)
      && step(request.expires_ms, request.expires_ms > now ? `Expires ${ago(request.expires_ms, now)}` : "Expired", null, "later"));
}

function carryOut(request, may) {
  const file = `${request.id}.bautareq`;
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, may.has("file") ? "Carry it out" : "Look at it")),
    h("div", { class: "panel-body" },
      h("div", { class: "row" },
        may.has("file") && h("a", { class: "button primary", href: `/api/requests/${encodeURIComponent(request.id)}/file`, download: file },
          icon("download"), "Request file"),
        may.has("clip") && clipLink(request)),
      may.has("file") && [
        h("p", {}, "On the machine where the officer's key is. Every recovery goes into that machine's log before the first picture."),
        commandBox(["bauta", "recover", "CLIP.mp4", "recovered.mp4", "--request", file, "--key", "officer.key",
          "--console", "console.pub", "--service", "service.pub"]),
        h("p", { class: "hint" }, "The two .pub files, from whoever runs this console, prove where request and clip come from. A clip that comes as .zip is unpacked first."),
      ]));
}
