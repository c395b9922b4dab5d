// Dialogs over the page: the platform's <dialog>, so that focus and Escape are right by themselves.

import { h, newId, replace } from "./dom.js";
import { icon } from "./icons.js";
import { isAbort } from "./api.js";

/**
 * Opens a dialog and returns { close(value), done }: `done` resolves with the value, null when dismissed.
 * `submit`: { label, kind, run() }; run may be async; what it returns closes the dialog, what it throws is shown.
 */
export function openDialog({ title, body, submit = null, wide = false, cancel = "Cancel" }) {
  const titleId = newId("dialog");
  const problem = h("p", { class: "error", role: "alert", hidden: true });
  let settle;
  let answer = null;
  const done = new Promise((resolve) => { settle = resolve; });
  const close = (value = null) => {
    answer = value;
    dialog.close();
  };
  const button = submit
    && h("button", { class: `button ${submit.kind ?? "primary"}`, type: "submit" }, submit.label);

  async function run(event) {
    event.preventDefault();
    if (!submit) return close();
    problem.hidden = true;
    button.disabled = true;
    try {
      close((await submit.run()) ?? true);
    } catch (error) {
      if (isAbort(error)) return close();
      problem.textContent = error.message;
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  }

  const form = h(
    "form", { method: "dialog", novalidate: true, onsubmit: run },
    h("header", { class: "dialog-head" },
      h("h2", { id: titleId }, title),
      h("button", { class: "button quiet icon-only", type: "button", "aria-label": "Close", onclick: () => close() },
        icon("close"))),
    h("div", { class: "dialog-body" }, body),
    submit && h("footer", { class: "dialog-foot" },
      problem,
      h("button", { class: "button quiet", type: "button", onclick: () => close() }, cancel),
      button),
  );
  const dialog = h(
    "dialog",
    {
      class: wide ? "dialog wide" : "dialog", "aria-labelledby": titleId,
      onclose: () => { dialog.remove(); settle(answer); },
      onclick: (event) => { if (event.target === dialog) close(); },
    },
    form,
  );
  document.body.append(dialog);
  dialog.showModal();
  // what is asked first; else what does no harm
  (dialog.querySelector("[autofocus]")
    ?? dialog.querySelector(".dialog-body :is(input:not([hidden], :disabled), select, textarea)")
    ?? dialog.querySelector(".dialog-foot button"))?.focus();
  return { close, done, element: dialog };
}

/** Asks before something that cannot be taken back. Resolves to true when confirmed (and `run` went well). */
export async function confirm({ title, text, label, kind = "danger", run = () => true }) {
  const asked = openDialog({ title, body: h("p", {}, text), submit: { label, kind, run } });
  return (await asked.done) !== null;
}

/** A labelled control with a hint and a place for its error. The control is given its id and description. */
export function field(label, control, { hint = null, inline = false } = {}) {
  const id = control.id || newId("field");
  control.id = id;
  const error = h("span", { class: "error", id: `${id}-error`, hidden: true });
  const described = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  control.setAttribute("aria-describedby", described);
  const element = h("div", { class: inline ? "field inline" : "field" },
    h("label", { for: id }, label),
    control,
    hint && h("span", { class: "hint", id: `${id}-hint` }, hint),
    error);
  return {
    element,
    control,
    /** Shows or (null) takes away the control's error; says whether it is without. */
    check(text) {
      control.setAttribute("aria-invalid", String(Boolean(text)));
      error.hidden = !text;
      replace(error, text ?? "");
      return !text;
    },
  };
}
