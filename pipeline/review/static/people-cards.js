// One card per track, what of them is chosen, and the step from there to a recovery request.

import { h, replace, setText } from "./dom.js";
import { clockSeconds, dateTime, duration, number, plural, span } from "./format.js";
import { icon } from "./icons.js";
import { href } from "./router.js";
import { has } from "./session.js";
import { announce, toast } from "./toast.js";

const PADDING_MS = 2000; // around the people that are asked for

/** Said wherever cards stand. */
export const NOBODY_IS_RECOGNIZED = "One card per track. Nobody is recognized: two cards may be the same person.";

/** Whether this user may ask for recoveries, and so choose people. */
export const mayChoose = () => has("requester");

/** Where a person is first seen in the recordings. */
export const placeOf = (person) => href("recordings", null, { camera: person.camera, at: person.start_ms });

/** A card that can show one person after the other, so that long lists need few elements. */
export class PersonCard {
  /** `withDay`: times carry their day and the camera is named. `open(person, event)` may take over the click. */
  constructor({ selection = null, withDay = false, open = null }) {
    this.person = null;
    this.selection = mayChoose() ? selection : null;
    this.withDay = withDay;
    this.image = h("img", { alt: "", decoding: "async", draggable: "false" });
    this.image.addEventListener("load", () => { this.image.dataset.shown = true; });
    this.time = h("strong", { class: "people-card-time clip" });
    this.camera = h("span", { class: "people-card-camera dim clip" });
    this.size = h("span", { class: "people-card-size dim clip" });
    this.link = h("a", { class: "people-card-link", onclick: (event) => open?.(this.person, event) },
      h("span", { class: "people-card-picture" }, icon("people", 20), this.image),
      h("span", { class: "people-card-words" }, this.time, withDay && this.camera, this.size));
    this.box = this.selection && h("input", { type: "checkbox", onchange: () => this.#pick() });
    this.element = h("article", { class: "people-card card", role: "listitem" },
      this.link,
      this.box && h("label", { class: "people-card-pick" }, this.box));
  }

  /** `picture`: false leaves the thumbnail for later, while a list rushes by. */
  show(person, { picture = true } = {}) {
    if (this.person?.id !== person.id) {
      this.person = person;
      delete this.image.dataset.shown;
      this.image.removeAttribute("src");
      this.link.href = placeOf(person);
      setText(this.time, this.withDay ? dateTime(person.start_ms) : clockSeconds(person.start_ms));
      setText(this.camera, person.camera);
      setText(this.size, `${duration(person.seconds)} · ${number(Math.round(person.largest_px))} px`);
      this.link.setAttribute("aria-label", this.#words());
      if (this.box) {
        this.box.setAttribute("aria-label", `Choose ${this.#words()}`);
      }
    }
    if (picture && !this.image.src) this.image.src = `/api/people/${person.id}/thumbnail.jpg`;
    this.refresh();
  }

  /** After the selection has changed. */
  refresh() {
    const isPicked = Boolean(this.selection?.has(this.person));
    if (this.box) {
      const obstacle = this.selection.obstacle(this.person);
      this.box.checked = isPicked;
      this.box.disabled = obstacle !== null;
      this.box.parentElement.title = obstacle ?? "Choose for a recovery request";
    }
    this.element.dataset.picked = isPicked;
  }

  #words() {
    const { person } = this;
    return `${person.camera}, ${dateTime(person.start_ms)}, ${duration(person.seconds)}, largest ${Math.round(person.largest_px)} pixels`;
  }

  #pick() {
    this.selection.set(this.person, this.box.checked);
    this.refresh();
  }
}

/** The people that are chosen: of one camera, as a request is about one. */
export class Selection extends EventTarget {
  #people = new Map();

  has(person) {
    return this.#people.has(person?.id);
  }

  get people() {
    return [...this.#people.values()];
  }

  get camera() {
    return this.people[0]?.camera ?? null;
  }

  /** Why this person cannot be chosen; null where they can. */
  obstacle(person) {
    if (!person.recoverable) return "No sealed original is kept of this track";
    const isOther = this.camera !== null && this.camera !== person.camera;
    return isOther ? `A request is about one camera: people of ${this.camera} are chosen` : null;
  }

  /** Chooses a person, or no longer. */
  set(person, isChosen) {
    if (isChosen && this.obstacle(person) === null) this.#people.set(person.id, person);
    else this.#people.delete(person.id);
    this.#changed();
  }

  clear() {
    this.#people.clear();
    this.#changed();
  }

  /** {fromMs, toMs} of all of them. */
  span() {
    const { people } = this;
    return {
      fromMs: Math.min(...people.map((person) => person.start_ms)),
      toMs: Math.max(...people.map((person) => person.end_ms)),
    };
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** A bar that appears while people are chosen: how many, and the way on. */
export function selectionBar(selection, signal) {
  const words = h("p");
  const element = h("div", { class: "selection-bar", role: "region", "aria-label": "Chosen people", hidden: true },
    words,
    h("div", { class: "row" },
      h("button", { class: "button quiet", type: "button", onclick: () => selection.clear() }, "Clear"),
      h("button", { class: "button primary", type: "button", onclick: ask }, icon("requests"), "Ask for recovery")));

  async function ask() {
    const { fromMs, toMs } = selection.span();
    try {
      const { openRequestDialog } = await import("./page-requests.js");
      const made = await openRequestDialog({
        camera: selection.camera, fromMs: fromMs - PADDING_MS, toMs: toMs + PADDING_MS, people: selection.people,
      });
      if (made) selection.clear();
    } catch (error) {
      toast(error.message, "danger");
    }
  }

  selection.addEventListener("change", () => {
    const { people } = selection;
    element.hidden = people.length === 0;
    if (!people.length) return;
    const { fromMs, toMs } = selection.span();
    const count = plural(people.length, "person", "people");
    replace(words, h("strong", {}, `${count} of ${selection.camera}`), " ", h("span", { class: "dim" }, span(fromMs, toMs)));
    announce(`${count} chosen`);
  }, { signal });
  return element;
}
