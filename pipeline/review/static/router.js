// Addresses behind the #: a page, perhaps one id, and a query. Pages never read location themselves.

import { path } from "./api.js";

/** The route of a hash: {page, id, query}. */
export function parse(hash) {
  const [way, text = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = way.split("/");
  let id = rest.join("/") || null;
  try {
    id = id && decodeURIComponent(id);
  } catch { /* not encoded: taken as it is */ }
  return { page: page || "live", id, query: new URLSearchParams(text) };
}

/** href("recordings", null, {camera: "lobby", at: 1}) -> "#/recordings?camera=lobby&at=1" */
export function href(page, id = null, query = {}) {
  return path(id === null ? `#/${page}` : `#/${page}/${encodeURIComponent(id)}`, query);
}

/** Goes there, as if a link had been followed. */
export function go(page, id = null, query = {}) {
  location.hash = href(page, id, query);
}

/** Writes the page's present state into the address without rendering and without a step in the history. */
export function remember(page, id = null, query = {}) {
  history.replaceState(history.state, "", href(page, id, query));
}
