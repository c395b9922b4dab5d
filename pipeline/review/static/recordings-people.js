// The column beside the picture: who is in the span that the timeline shows, newest first.

import { api, isAbort } from "./api.js";
import { h, keyed, replace, setText } from "./dom.js";
import { clock, day, dayStart, plural } from "./format.js";
import { NOBODY_IS_RECOGNIZED, PersonCard } from "./people-cards.js";

const PAGE = 60;
const QUIET_MS = 350; // after the last movement
const LONGEST_MS = 3 * 3600_000; // a longer view: only the hour around the picture
const AROUND_MS = 1800_000;
const FRESH_MS = 15_000;
const SETTLED_MS = 120_000; // who is older than this is in the index

export class PeopleColumn {
  constructor({ selection, signal, onOpen }) {
    this.signal = signal;
    this.selection = selection;
    this.onOpen = onOpen;
    this.people = [];
    this.cards = new Map();
    this.next = null;
    this.wanted = null;
    this.work = null;
    this.timer = 0;
    this.title = h("p", { class: "dim small" });
    this.list = h("div", { class: "people-list", role: "list", "aria-label": "People in the span" });
    this.more = h("button", { class: "button quiet small", type: "button", hidden: true, onclick: () => this.#load(this.next) }, "Show more");
    this.empty = h("div", { class: "empty", hidden: true });
    this.element = h("section", { class: "people-column", "aria-labelledby": "people-column-title" },
      h("header", {}, h("h2", { id: "people-column-title" }, "People"), this.title),
      h("div", { class: "people-column-scroll", tabindex: "-1" }, this.list, this.empty, this.more,
        h("p", { class: "people-column-note dim small" }, NOBODY_IS_RECOGNIZED)));
    selection.addEventListener("change", () => this.cards.forEach((card) => card.refresh()), { signal });
    const fresh = setInterval(() => {
      const isNow = this.wanted && this.wanted.toMs > Date.now() - SETTLED_MS;
      if (isNow && document.visibilityState === "visible" && this.people.length <= PAGE) this.#load(null);
    }, FRESH_MS);
    signal.addEventListener("abort", () => {
      clearInterval(fresh);
      clearTimeout(this.timer);
    });
  }

  /** Shows the people of a camera around what is looked at. */
  see(camera, scale, atMs) {
    let { fromMs, toMs } = scale;
    if (toMs - fromMs > LONGEST_MS) {
      const middle = Math.round((atMs ?? (fromMs + toMs) / 2) / AROUND_MS) * AROUND_MS;
      [fromMs, toMs] = [middle - AROUND_MS, middle + AROUND_MS];
    }
    const key = `${camera} ${Math.round(fromMs)} ${Math.round(toMs)}`;
    if (key === this.wanted?.key) return;
    this.wanted = { key, camera, fromMs, toMs };
    this.isPlaced = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#load(null), QUIET_MS);
  }

  /** Marks who is in the picture at this time. */
  at(ms) {
    let here = null;
    for (const card of this.cards.values()) {
      const isHere = ms !== null && card.person.start_ms <= ms && ms <= card.person.end_ms;
      if (card.element.dataset.here !== String(isHere)) card.element.dataset.here = isHere;
      if (isHere) here ??= card.element;
    }
    if (here && !this.isPlaced) here.scrollIntoView({ block: "nearest" }); // once: the list is not to run about
    this.isPlaced ||= here !== null;
  }

  async #load(after) {
    this.work?.abort();
    this.work = new AbortController();
    const { camera, fromMs, toMs } = this.wanted;
    try {
      const answer = await api.get("/api/people", {
        query: { cameras: camera, from_ms: Math.floor(fromMs), to_ms: Math.ceil(toMs), sort: "-time", limit: PAGE, after },
        signal: AbortSignal.any([this.signal, this.work.signal]),
      });
      this.people = after ? [...this.people, ...answer.people] : answer.people;
      this.next = answer.next;
      this.#show(answer.total);
    } catch (error) {
      if (isAbort(error)) return;
      this.wanted = { ...this.wanted, key: null };
      this.#showEmpty("The list cannot be shown", error.message);
    }
  }

  #show(total) {
    const { camera, fromMs, toMs } = this.wanted;
    const dayWords = dayStart(fromMs) === dayStart(Date.now()) ? "" : `${day(fromMs)}, `;
    setText(this.title, `${camera}, ${dayWords}${clock(fromMs)} – ${clock(toMs)}: ${plural(total, "track")}`);
    keyed(this.list, this.people, (person) => person.id, (person) => {
      const card = new PersonCard({ selection: this.selection, open: this.onOpen });
      this.cards.set(person.id, card);
      card.image.loading = "lazy";
      return card.element;
    }, (_, person) => this.cards.get(person.id).show(person));
    const known = new Set(this.people.map((person) => person.id));
    for (const id of this.cards.keys()) if (!known.has(id)) this.cards.delete(id);
    this.more.hidden = this.next === null;
    if (this.people.length) this.empty.hidden = true;
    else this.#showEmpty("Nobody here", "No face was found in this span. Move or widen the timeline to look elsewhere.");
  }

  #showEmpty(title, text) {
    this.empty.hidden = false;
    replace(this.empty, h("strong", {}, title), h("p", {}, text));
  }
}
