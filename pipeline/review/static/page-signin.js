// The sign-in page. In the demo the made-up accounts stand below, one press each.

import { api } from "./api.js";
import { field } from "./dialog.js";
import { h, replace, setText } from "./dom.js";
import { icon, mark } from "./icons.js";
import { setSession, site } from "./session.js";

/** Shows the page in `app`; onSignedIn is called once a session is open. `message`: why one is here. */
export function renderSignIn(app, { message, signal, onSignedIn }) {
  const place = site();
  const name = field("Name", h("input", {
    type: "text", name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true,
  }));
  const password = field("Password", h("input", {
    type: "password", name: "password", autocomplete: "current-password", required: true,
  }));
  const problem = h("p", { class: "error", role: "alert" }, message ?? "");
  const button = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const accounts = place.accounts.map((account) =>
    h("button", { class: "button signin-account", type: "button", onclick: () => fill(account) },
      account.name, h("span", { class: "dim small" }, account.roles.join(", "))));
  let waiting = null;

  function fill(account) {
    name.control.value = account.name;
    password.control.value = account.password;
    submit();
  }

  function enable(on) {
    for (const control of [button, ...accounts]) control.disabled = !on;
  }

  /** After too many attempts: says how long, and counts it down. */
  function wait(seconds, text) {
    clearInterval(waiting);
    enable(false);
    const endAt = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((endAt - Date.now()) / 1000);
      // every second on the button, but said aloud only once
      setText(button, left > 0 ? `Wait ${left} s` : "Sign in");
      if (left > 0) return;
      clearInterval(waiting);
      enable(true);
      setText(problem, "You can try again now.");
    };
    setText(problem, text);
    waiting = setInterval(tick, 500);
    tick();
  }

  async function submit(event) {
    event?.preventDefault();
    const right = [
      name.check(name.control.value.trim() ? null : "Your name is missing"),
      password.check(password.control.value ? null : "Your password is missing"),
    ];
    if (right.includes(false)) {
      (right[0] ? password : name).control.focus();
      return;
    }
    setText(problem, "");
    enable(false);
    try {
      setSession(await api.post(
        "/api/session",
        { name: name.control.value.trim(), password: password.control.value },
        { quiet: true, signal },
      ));
      onSignedIn();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 429) {
        wait(error.retryAfterSeconds || 5, error.message);
        return;
      }
      enable(true);
      setText(problem, error.message);
      password.control.select();
    }
  }

  signal.addEventListener("abort", () => clearInterval(waiting), { once: true });
  replace(
    app,
    h("div", { class: "signin-scroll" }, h("main", { class: "signin" },
      h("header", { class: "signin-head" },
        mark(),
        h("div", {}, h("h1", {}, "Bauta"), h("p", {}, place.site || "Review console"))),
      h("form", { onsubmit: submit, novalidate: true }, name.element, password.element, problem, button),
      accounts.length > 0 && h("section", { class: "signin-accounts", "aria-labelledby": "demo-accounts" },
        h("h2", { id: "demo-accounts" }, "Demo accounts"),
        h("p", { class: "hint" }, "Made up for this demo; they end with it."),
        accounts),
      h("p", { class: "signin-promise dim small" }, icon("shield", 14),
        "Every picture here was protected before it left the camera's process."))),
  );
  name.control.focus();
}
