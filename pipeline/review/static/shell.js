// What stands around every page: the rail with its links, the number of requests that wait, theme, and the person's menu.

import { api, isAbort } from "./api.js";
import { field, openDialog } from "./dialog.js";
import { h, replace, setText } from "./dom.js";
import { icon, mark } from "./icons.js";
import { showShortcuts } from "./keys.js";
import { has, SHORTEST_PASSWORD, site, user } from "./session.js";
import { nextTheme, setTheme, theme } from "./theme.js";
import { announce, toast } from "./toast.js";

const PENDING_POLL_MS = 20_000;
const THEME_WORDS = { auto: "As the system", dark: "Dark", light: "Light" };
const THEME_ICONS = { auto: "contrast", dark: "moon", light: "sun" };

/** Builds the shell into `app`. pages: [{name, label, icon, keys}]. Returns {main, mark(page), stop()}. */
export function makeShell(app, pages, { onSignOut }) {
  const leaving = new AbortController();
  const links = new Map();
  const main = h("main", { id: "main", tabindex: "-1" });
  const count = h("span", { class: "count", hidden: true });
  const countWords = h("span", { class: "unseen" });

  const item = (page) => {
    const link = h("a", { href: `#/${page.name}`, title: `${page.label} (${page.keys})` },
      icon(page.icon, 18),
      h("span", { class: "rail-word" }, page.label),
      page.name === "requests" && [count, countWords]);
    links.set(page.name, link);
    return h("li", {}, link);
  };
  const [daily, office] = [false, true].map((wanted) =>
    pages.filter((page) => Boolean(page.office) === wanted).map(item));

  replace(
    app,
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } },
      "Skip to the page"),
    h("div", { class: "shell" },
      h("header", { class: "rail" },
        h("a", { class: "brand", href: "#/live", "aria-label": `Bauta, ${site().site}: live` },
          mark(),
          h("span", { class: "rail-word" },
            h("strong", {}, "Bauta"), h("span", { class: "brand-site clip" }, site().site))),
        h("nav", { "aria-label": "Pages" },
          h("ul", {}, daily),
          office.length > 0 && h("ul", { class: "rail-office" }, office)),
        h("div", { class: "rail-foot" }, themeSwitch(), keyboardButton(), personMenu(onSignOut))),
      main),
  );

  if (has("approver")) watchPending(count, countWords, leaving.signal);

  return {
    main,
    mark(name) {
      for (const [page, link] of links) {
        if (page === name) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
    stop: () => leaving.abort(),
  };
}

function themeSwitch() {
  const word = h("span", { class: "rail-word" });
  const button = h("button", { class: "rail-button", type: "button" });
  const show = () => {
    const name = theme();
    setText(word, THEME_WORDS[name]);
    button.title = `Theme: ${THEME_WORDS[name].toLowerCase()}`;
    replace(button, icon(THEME_ICONS[name], 18), h("span", { class: "unseen" }, "Theme: "), word);
  };
  button.addEventListener("click", () => {
    setTheme(nextTheme(theme()));
    show();
    announce(button.title);
  });
  show();
  return button;
}

function keyboardButton() {
  return h("button", { class: "rail-button", type: "button", title: "Keyboard shortcuts (?)", onclick: showShortcuts },
    icon("keyboard", 18), h("span", { class: "rail-word" }, "Shortcuts"));
}

function personMenu(onSignOut) {
  const roles = user().roles.filter((role) => role !== "viewer").join(", ") || "viewer";
  const menu = h("div", { class: "menu person-menu", id: "person-menu", popover: "auto", role: "menu", "aria-label": user().name },
    h("p", { class: "person-cameras small dim" },
      user().cameras === null ? "Sees every camera" : `Sees ${user().cameras.join(", ") || "no camera"}`),
    h("button", { type: "button", role: "menuitem", onclick: () => { menu.hidePopover(); changePassword(); } },
      icon("password"), "Change password"),
    h("button", { type: "button", role: "menuitem", onclick: () => { menu.hidePopover(); onSignOut(); } },
      icon("signout"), "Sign out"));
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...menu.querySelectorAll("[role=menuitem]")];
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  });
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "open") menu.querySelector("[role=menuitem]").focus();
  });
  return [
    h("button", {
      class: "rail-button person", type: "button", popovertarget: menu.id, "aria-haspopup": "menu",
      title: `${user().name} (${roles})`,
    },
    icon("users", 18),
    h("span", { class: "rail-word" },
      h("span", { class: "clip" }, user().name), h("span", { class: "dim small clip" }, roles))),
    menu,
  ];
}

async function changePassword() {
  const input = (autocomplete) => h("input", { type: "password", autocomplete, required: true });
  const old = field("Present password", input("current-password"));
  const fresh = field("New password", input("new-password"), { hint: `At least ${SHORTEST_PASSWORD} characters` });
  const again = field("New password again", input("new-password"));
  const asked = openDialog({
    title: "Change password",
    body: [
      h("input", { type: "text", autocomplete: "username", value: user().name, readonly: true, hidden: true }),
      old.element, fresh.element, again.element,
    ],
    submit: {
      label: "Change password",
      async run() {
        const right = [
          fresh.check(fresh.control.value.length < SHORTEST_PASSWORD ? `At least ${SHORTEST_PASSWORD} characters` : null),
          again.check(again.control.value === fresh.control.value ? null : "The two differ"),
        ];
        if (right.includes(false)) throw new Error("Nothing was changed.");
        await api.post("/api/session/password", { old: old.control.value, new: fresh.control.value }, { quiet: true });
      },
    },
  });
  if (await asked.done) toast("Your password was changed.");
}

/** Keeps the number of requests that this approver may decide beside the link. */
function watchPending(count, words, signal) {
  let last = 0;
  const look = async () => {
    if (document.hidden) return;
    try {
      const { requests } = await api.get("/api/requests", { query: { state: "pending" }, signal });
      const waiting = requests.filter((request) => request.may.includes("approve")).length;
      count.hidden = waiting === 0;
      setText(count, waiting);
      setText(words, waiting ? " waiting for a decision" : "");
      if (waiting > last) announce(`${waiting} recovery requests wait for a decision`);
      last = waiting;
    } catch (error) {
      if (!isAbort(error)) console.debug("pending requests:", error.message);
    }
  };
  const timer = setInterval(look, PENDING_POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  document.addEventListener("bauta:requests", look, { signal }); // page-requests.js: one was made or decided
  document.addEventListener("visibilitychange", look, { signal });
  look();
}
