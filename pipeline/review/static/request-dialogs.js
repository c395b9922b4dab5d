// The dialogs of recovery requests: make one, approve, refuse, withdraw.

import { api } from "./api.js";
import { commandBox } from "./command.js";
import { confirm, field, openDialog } from "./dialog.js";
import { h, newId } from "./dom.js";
import { duration, plural, span } from "./format.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";

const LARGEST_RELEASE_BYTES = 20 * 2 ** 20;
const LONGEST_CASE = 200;
const LONGEST_LINE = 1000;

/** Says that requests have changed, to the number beside the link and to the list. */
function changed() {
  document.dispatchEvent(new Event("bauta:requests"));
}

/** The log and the signed file hold single lines: line breaks and tabs become spaces. */
const line = (control) => control.value.replace(/\s+/g, " ").trim();

/** A person of a request as a small card; `extra` stands below it. */
export function personCard(person, ...extra) {
  const id = person.person_id ?? person.id ?? null;
  return h("figure", { class: "request-person" },
    id === null
      ? h("span", { class: "request-picture gone" }, icon("people", 24))
      : h("img", {
        class: "request-picture", src: `/api/people/${id}/thumbnail.jpg`, alt: `Protected picture of track ${person.track}`,
        loading: "lazy", width: "120", height: "120",
      }),
    h("figcaption", {},
      h("strong", {}, `Track ${person.track}`),
      h("span", { class: "dim small figures" }, span(person.start_ms, person.end_ms)),
      h("span", { class: "dim small figures" }, duration((person.end_ms - person.start_ms) / 1000)),
      id === null && h("span", { class: "dim small" }, "its recording is gone"),
      extra));
}

/**
 * Asks for a recovery. `people`: as /api/people gives them (P), at least one, all of `camera`.
 * Resolves with the new request, null when the dialog was dismissed.
 */
export async function openRequestDialog({ camera, fromMs, toMs, people }) {
  const caseId = field("Case", h("input", { type: "text", maxlength: LONGEST_CASE, required: true, autocomplete: "off", autofocus: true }),
    { hint: "The number under which others find it: of the incident, the police, the works council" });
  const reason = field("Reason", h("textarea", { rows: 3, maxlength: LONGEST_LINE, required: true }),
    { hint: "What happened, and why these people must be seen. It is read by the approver and stays in the log." });
  const group = newId("people");
  const checks = people.map((person) => h("input", {
    type: "checkbox", checked: person.recoverable !== false, disabled: person.recoverable === false, "aria-label": `Track ${person.track}`,
  }));
  const sealed = people.filter((person) => person.recoverable !== false);
  const asked = openDialog({
    title: "Ask for a recovery",
    wide: true,
    body: [
      h("dl", { class: "facts figures" }, h("dt", {}, "Camera"), h("dd", {}, camera), h("dt", {}, "Span"), h("dd", {}, span(fromMs, toMs))),
      sealed.length < people.length && h("p", { class: "note attention" }, icon("alert"),
        `${people.length - sealed.length} of these ${plural(people.length, "person", "people")} cannot be recovered: nothing was sealed while they were seen.`),
      h("section", { class: "section", "aria-labelledby": group },
        h("h3", { id: group }, "Whose faces"),
        h("div", { class: "request-people" }, people.map((person, index) =>
          h("label", { class: "card request-choice" }, checks[index], personCard(person))))),
      caseId.element,
      reason.element,
      h("p", { class: "hint" }, "A second person decides. Nothing is recovered here: after approval you carry it out with your own key, on your own machine."),
    ],
    submit: {
      label: "Send the request",
      async run() {
        const chosen = people.filter((_, index) => checks[index].checked);
        const right = [
          caseId.check(line(caseId.control) ? null : "A case is needed"),
          reason.check(line(reason.control) ? null : "A reason is needed"),
        ];
        if (!chosen.length) throw new Error("Choose at least one person.");
        if (right.includes(false)) throw new Error("Something is missing above.");
        return api.post("/api/requests", {
          camera,
          from_ms: Math.floor(fromMs),
          to_ms: Math.ceil(toMs),
          people: chosen.map(({ id }) => id),
          case: line(caseId.control),
          reason: line(reason.control),
        });
      },
    },
  });
  const made = await asked.done;
  if (made) {
    changed();
    toast(`Request ${made.id} waits for an approver.`);
  }
  return made;
}

/** Resolves with the approved request, or null. */
export async function approve(request) {
  const note = field("Note", h("input", { type: "text", maxlength: LONGEST_LINE, autocomplete: "off" }), { hint: "Optional; goes into the log" });
  const file = field("Key release", h("input", { type: "file" }), { hint: "Optional; what the command below has written" });
  const asked = openDialog({
    title: `Approve ${request.id}`,
    wide: true,
    body: [
      h("p", { class: "note" }, icon("info"),
        "Without a key release this approval is advice: whoever holds keys of every group can recover without it. What a release opens is unchecked until the officer opens it."),
      note.element,
      file.element,
      h("details", {},
        h("summary", {}, "How to make a key release"),
        h("div", { class: "stack release-help" },
          h("p", {}, "Download the clip, then run this where your key is. It opens these tracks for the officer alone, and goes into your own log."),
          h("div", { class: "row" }, clipLink(request)),
          commandBox(releaseCommand(request)))),
    ],
    submit: {
      label: "Approve",
      async run() {
        const chosen = file.control.files[0] ?? null;
        if (chosen && chosen.size > LARGEST_RELEASE_BYTES) throw new Error("A key release is never so large; this is another file.");
        return api.post(`/api/requests/${encodeURIComponent(request.id)}/approve`, {
          note: line(note.control),
          release: chosen && await base64(chosen),
        });
      },
    },
  });
  const decided = await asked.done;
  if (decided) changed();
  return decided;
}

/** Resolves with the refused request, or null. */
export async function refuse(request) {
  const note = field("Why not", h("textarea", { rows: 3, maxlength: LONGEST_LINE, required: true, autofocus: true }), { hint: "Is shown to who asked, and goes into the log" });
  const asked = openDialog({
    title: `Refuse ${request.id}`,
    body: note.element,
    submit: {
      label: "Refuse",
      kind: "danger",
      async run() {
        if (!note.check(line(note.control) ? null : "Say why")) throw new Error("A refusal needs its reason.");
        return api.post(`/api/requests/${encodeURIComponent(request.id)}/refuse`, { note: line(note.control) });
      },
    },
  });
  const decided = await asked.done;
  if (decided) changed();
  return decided;
}

/** Resolves to whether it was withdrawn. */
export async function withdraw(request) {
  const done = await confirm({
    title: `Withdraw ${request.id}`,
    text: "Nobody can approve it any more. It stays in the list and in the log.",
    label: "Withdraw",
    run: () => api.post(`/api/requests/${encodeURIComponent(request.id)}/withdraw`),
  });
  if (done) changed();
  return done;
}

/** The tracks of a request, each once. */
export const tracksOf = (request) => [...new Set(request.people.map(({ track }) => track))].sort((a, b) => a - b);

/** The link that downloads the protected clip around a request's span. */
export function clipLink(request) {
  return h("a", { class: "button", href: `/api/requests/${encodeURIComponent(request.id)}/clip`, download: true }, icon("download"), "Protected clip");
}

function releaseCommand(request) {
  return [
    "bauta", "keys", "release", "CLIP.mp4", `${request.id}.release`, "--key", "YOUR.key", "--for", "OFFICER.pub",
    ...tracksOf(request).flatMap((track) => ["--track", String(track)]),
    "--case", request.case, "--reason", request.reason, "--service", "service.pub",
  ];
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file could not be read."));
    reader.readAsDataURL(file);
  });
}
