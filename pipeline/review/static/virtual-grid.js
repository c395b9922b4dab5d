// A grid of any length with few elements: those in view and a row around, taken up again as it scrolls.

import { h } from "./dom.js";

const ROWS_AROUND = 2;
const RUSH_MS = 90; // pictures wait until scrolling is slower than a row in this time
const NEAR_ROWS = 8; // before the end more is asked for

/**
 * cards: {make() -> card, show(card, item, {picture})}; a card has an `element`.
 * more() is called near the end of what is known. Measures come from the CSS of .grid-probe: width (the least of a card),
 * height (of the words below its square picture) and left padding (between cards).
 */
export class VirtualGrid {
  constructor({ scroller, cards, more, label, signal }) {
    this.scroller = scroller;
    this.cards = cards;
    this.more = more;
    this.items = [];
    this.total = 0;
    this.shown = new Map(); // index -> card
    this.spare = [];
    this.focusIndex = 0;
    this.columns = 1;
    this.frame = 0;
    this.settle = 0;
    this.element = h("div", { class: "grid", role: "list", "aria-label": label });
    this.probe = h("div", { class: "grid-probe", "aria-hidden": "true" });
    this.element.append(this.probe);
    scroller.addEventListener("scroll", () => this.#later(), { signal, passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.element.addEventListener("focusin", (event) => this.#focused(event), { signal });
    const sizes = new ResizeObserver(() => this.#measure());
    sizes.observe(scroller);
    signal.addEventListener("abort", () => {
      sizes.disconnect();
      cancelAnimationFrame(this.frame);
      clearTimeout(this.settle);
    });
  }

  /** Other items from the top. */
  reset() {
    this.items = [];
    this.total = 0;
    this.focusIndex = 0;
    for (const index of [...this.shown.keys()]) this.#putAway(index);
    this.scroller.scrollTop = 0;
    this.#layout();
  }

  add(items, total) {
    this.items.push(...items);
    this.total = total;
    this.#layout();
  }

  /** Calls with every card in view. */
  each(call) {
    this.shown.forEach((card) => call(card));
  }

  #measure() {
    const style = getComputedStyle(this.probe);
    const gap = parseFloat(style.paddingLeft);
    const least = parseFloat(style.width);
    const words = parseFloat(style.height);
    const width = this.element.clientWidth;
    if (!width) return;
    const topItem = Math.floor(this.scroller.scrollTop / (this.rowHeight || 1)) * this.columns;
    this.columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    this.cardWidth = (width - gap * (this.columns - 1)) / this.columns;
    this.stepX = this.cardWidth + gap;
    this.rowHeight = Math.round(this.cardWidth + words) + gap;
    this.cardHeight = this.rowHeight - gap;
    this.element.style.setProperty("--card-width", `${this.cardWidth}px`);
    this.element.style.setProperty("--card-height", `${this.cardHeight}px`);
    this.#layout();
    this.scroller.scrollTop = Math.floor(topItem / this.columns) * this.rowHeight;
    this.shown.forEach((card, index) => this.#place(card, index));
  }

  #layout() {
    if (!this.rowHeight) return;
    this.element.style.height = `${Math.ceil(this.items.length / this.columns) * this.rowHeight}px`;
    this.#draw();
  }

  #later() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const { scrollTop, clientHeight } = this.scroller;
    const now = performance.now();
    const rowsMoved = Math.abs(scrollTop - (this.lastTop ?? scrollTop)) / this.rowHeight;
    const isRushing = rowsMoved > (now - (this.lastAt ?? 0)) / RUSH_MS;
    [this.lastTop, this.lastAt] = [scrollTop, now];
    const first = Math.max(0, (Math.floor(scrollTop / this.rowHeight) - ROWS_AROUND) * this.columns);
    const rows = Math.ceil(clientHeight / this.rowHeight) + 1 + 2 * ROWS_AROUND;
    const end = Math.min(this.items.length, first + rows * this.columns);
    for (const index of [...this.shown.keys()]) {
      const hasFocus = index === this.focusIndex && this.shown.get(index).element.contains(document.activeElement);
      if ((index < first || index >= end) && !hasFocus) this.#putAway(index);
    }
    for (let index = first; index < end; index += 1) this.#put(index, !isRushing);
    if (isRushing) {
      clearTimeout(this.settle);
      this.settle = setTimeout(() => this.#draw(), RUSH_MS * 2);
    }
    const isNearEnd = scrollTop + clientHeight > this.element.offsetHeight - NEAR_ROWS * this.rowHeight;
    if (isNearEnd && this.items.length < this.total) this.more();
  }

  #put(index, picture) {
    let card = this.shown.get(index);
    if (!card) {
      card = this.spare.pop() ?? this.cards.make();
      this.shown.set(index, card);
      card.element.dataset.index = index;
      card.element.setAttribute("aria-posinset", index + 1);
      this.#place(card, index);
      this.element.insertBefore(card.element, this.#after(index));
    }
    card.element.setAttribute("aria-setsize", this.total);
    card.link.tabIndex = index === this.focusIndex ? 0 : -1;
    this.cards.show(card, this.items[index], { picture });
  }

  /** The order of elements is that of the items: Tab and screen readers go by it. */
  #after(index) {
    for (let next = index + 1; next < index + this.columns * 3; next += 1) {
      const card = this.shown.get(next);
      if (card?.element.isConnected) return card.element;
    }
    return null;
  }

  #putAway(index) {
    const card = this.shown.get(index);
    this.shown.delete(index);
    card.element.remove();
    this.spare.push(card);
  }

  #place(card, index) {
    const x = (index % this.columns) * this.stepX;
    const y = Math.floor(index / this.columns) * this.rowHeight;
    card.element.style.transform = `translate(${x}px, ${y}px)`;
  }

  #focused(event) {
    const card = event.target.closest("[data-index]");
    if (!card) return;
    this.focusIndex = Number(card.dataset.index);
    this.shown.forEach((other, index) => { other.link.tabIndex = index === this.focusIndex ? 0 : -1; });
  }

  /** Arrows move between cards, a page at a time too; Home and End go to the ends of what is known. */
  #key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight)) * this.columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
      PageUp: -page, PageDown: page, Home: -this.items.length, End: this.items.length,
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.focusIndex = Math.min(this.items.length - 1, Math.max(0, this.focusIndex + steps[event.key]));
    const top = Math.floor(this.focusIndex / this.columns) * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight) this.scroller.scrollTop = top + this.rowHeight - clientHeight;
    this.#draw();
    this.shown.get(this.focusIndex)?.link.focus({ preventScroll: true });
  }
}
