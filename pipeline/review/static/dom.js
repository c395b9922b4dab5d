// Elements without a framework: h("button", { class: "button", onclick: save }, "Save").

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
// set as properties, because the attribute of the same name means only the first value
const PROPERTIES = new Set(["value", "checked", "muted", "indeterminate", "selected", "srcObject"]);

/** An HTML element. Props: attributes, `onNAME` listeners, `dataset`, `style` (an object). */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, tag), props, children);
}

function fill(element, props, children) {
  const late = []; // a select's value needs its options first
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") setStyle(element, value);
    else if (PROPERTIES.has(name)) late.push([name, value]);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  for (const [name, value] of late) element[name] = value;
  return element;
}

/** Styles through the CSSOM: style attributes are forbidden by the page's policy. */
export function setStyle(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(name, value);
}

function present(children) {
  return children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false);
}

/** Puts these children (nested lists, nulls and strings are fine) in the place of the old ones. */
export function replace(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

/** Changes a text only where it differs, so that screen readers and selections stay quiet. */
export function setText(element, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Keeps the children of `parent` in step with `items`: make(item) once per key, update(element, item) each time. */
export function keyed(parent, items, keyOf, make, update) {
  const known = (parent.keyedChildren ??= new Map());
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    wanted.add(key);
    if (!known.has(key)) known.set(key, make(item));
    const element = known.get(key);
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const [key, element] of known) {
    if (wanted.has(key)) continue;
    element.remove();
    known.delete(key);
  }
}

let counted = 0;

/** A new id for labels and descriptions. */
export function newId(prefix = "id") {
  counted += 1;
  return `${prefix}-${counted}`;
}
