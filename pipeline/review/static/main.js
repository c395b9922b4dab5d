// Start, sign-in, and which page is shown. Pages are loaded when they are first wanted.

import { api, ApiError, isAbort, whenSignedOut } from "./api.js";
import { h, replace } from "./dom.js";
import { icon } from "./icons.js";
import { shortcuts, showShortcuts } from "./keys.js";
import { go, parse } from "./router.js";
import { has, setSession, setSite, site, user } from "./session.js";
import { makeShell } from "./shell.js";
import { announce } from "./toast.js";

// render(root, {id, query}, signal) -> nothing, or update({id, query}) for changes within the page
const PAGES = [
  { name: "live", label: "Live", icon: "live", keys: "g l", load: () => import("./page-live.js") },
  { name: "recordings", label: "Recordings", icon: "recordings", keys: "g r", load: () => import("./page-recordings.js") },
  { name: "people", label: "People", icon: "people", keys: "g p", load: () => import("./page-people.js") },
  { name: "requests", label: "Requests", icon: "requests", keys: "g q", load: () => import("./page-requests.js") },
  { name: "users", label: "Users", icon: "users", keys: "g u", office: true, roles: ["admin"], load: () => import("./page-users.js") },
  { name: "audit", label: "Audit", icon: "audit", keys: "g a", office: true, roles: ["approver", "admin"], load: () => import("./page-audit.js") },
  { name: "system", label: "System", icon: "system", keys: "g s", office: true, load: () => import("./page-system.js") },
];

const app = document.getElementById("app");
let shell = null;
let shown = null; // {name, update}
let leaving = new AbortController();

const allowed = () => PAGES.filter((page) => !page.roles || has(...page.roles));

async function boot() {
  whenSignedOut(() => { if (user()) signIn("You were signed out."); });
  try {
    setSite(await api.get("/api/site", { quiet: true }));
    setSession(await api.get("/api/session", { quiet: true }));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) return unreachable(error);
  }
  window.addEventListener("hashchange", () => show({ moved: true }));
  if (user()) enter();
  else signIn(null);
}

function unreachable(error) {
  replace(app, h("div", { class: "empty alone", role: "alert" },
    icon("alert", 24), h("strong", {}, error.message),
    h("button", { class: "button", type: "button", onclick: () => location.reload() }, "Try again")));
}

/** After signing in: the shell, and the page that the address names. */
function enter() {
  shell = makeShell(app, allowed(), { onSignOut: signOut });
  shown = null;
  show();
}

/** The sign-in page, over whatever was shown; the address stays, and is where one goes afterwards. */
async function signIn(message) {
  setSession(null);
  leaving.abort();
  leaving = new AbortController();
  shell?.stop();
  shell = null;
  closeDialogs();
  document.title = "Sign in – Bauta";
  const { renderSignIn } = await import("./page-signin.js");
  renderSignIn(app, { message, signal: leaving.signal, onSignedIn: enter });
}

/** A dialog belongs to its page. */
function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

async function signOut() {
  try {
    await api.remove("/api/session", { quiet: true });
  } finally {
    history.replaceState(null, "", "#/live"); // whoever comes next begins at the wall, not where this person was
    announce("");
    signIn(null);
  }
}

async function show({ moved = false } = {}) {
  if (!shell) return;
  const route = parse(location.hash);
  const params = { id: route.id, query: route.query };
  const page = allowed().find(({ name }) => name === route.page);
  if (page && shown?.name === page.name && shown.update) {
    shown.update(params);
    return;
  }
  closeDialogs();
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const root = h("div", { class: "page-root" });
  replace(shell.main, root);
  shell.main.scrollTop = 0;
  shell.mark(route.page);
  shown = { name: route.page, update: null };
  document.title = `${page?.label ?? "Not found"} – ${site().site || "Bauta"}`;
  if (!page) {
    replace(root, h("div", { class: "empty" },
      h("h1", {}, "There is no such page"),
      h("p", {}, "Or it is not for your role."),
      h("a", { href: "#/live" }, "To the live wall")));
    return;
  }
  try {
    const { render } = await page.load();
    if (signal.aborted) return;
    const update = await render(root, params, signal);
    if (signal.aborted) return;
    if (typeof update === "function") shown.update = update;
    if (moved) focusHeading(root, page.label);
  } catch (error) {
    if (signal.aborted || isAbort(error)) return;
    if (!(error instanceof ApiError)) console.error(error);
    replace(root, h("div", { class: "empty", role: "alert" },
      icon("alert", 24),
      h("h1", {}, `${page.label} cannot be shown`),
      h("p", {}, error.message),
      h("button", { class: "button", type: "button", onclick: () => show() }, icon("refresh"), "Try again")));
    shown = null;
  }
}

/** So that a screen reader says where one is, and Tab goes on from there. */
function focusHeading(root, label) {
  if (root.contains(document.activeElement)) return;
  const heading = root.querySelector("h1");
  if (!heading) {
    announce(label);
    return;
  }
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

shortcuts("Everywhere", [
  ...PAGES.map((page) => ({
    keys: page.keys,
    label: page.label,
    isAllowed: () => allowed().includes(page),
    run: () => (shell && allowed().includes(page) ? go(page.name) : false),
  })),
  { keys: "?", label: "This list", run: () => (shell ? showShortcuts() : false) },
]);
boot();
