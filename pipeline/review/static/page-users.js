// Accounts, for administrators: who may sign in, what they may do, which cameras they see.

import { api, isAbort } from "./api.js";
import { confirm, field, openDialog } from "./dialog.js";
import { h, newId, replace } from "./dom.js";
import { fullDateTime } from "./format.js";
import { icon } from "./icons.js";
import { SHORTEST_PASSWORD, user as me } from "./session.js";
import { toast } from "./toast.js";

const ROLES = {
  requester: "may ask for a recovery and export clips",
  approver: "decides about requests of others",
  admin: "changes users and reads the log",
};

/** #/users */
export async function render(root, params, signal) {
  const place = h("div", { class: "table-frame" });
  const load = async () => {
    const { users } = await api.get("/api/users", { signal });
    replace(place, table(users, { edit, remove }));
  };
  const again = () => load().catch((error) => { if (!isAbort(error)) toast(error.message, "danger"); });
  const cameraIds = async () => (await api.get("/api/cameras", { signal })).map(({ id }) => id);

  async function edit(account) {
    const saved = await userDialog(account, await cameraIds());
    if (saved) {
      toast(account ? `${account.name} was changed and is signed out.` : `${saved.name} can sign in now.`);
      again();
    }
  }

  async function remove(account) {
    const done = await confirm({
      title: `Remove ${account.name}`,
      text: `${account.name} is signed out at once and cannot sign in again. What they did stays in the log.`,
      label: "Remove",
      run: () => api.remove(`/api/users/${encodeURIComponent(account.name)}`),
    });
    if (done) {
      toast(`${account.name} was removed.`);
      again();
    }
  }

  await load();
  replace(root, h("div", { class: "page" },
    h("header", { class: "page-head" },
      h("h1", {}, "Users"),
      h("div", { class: "actions" },
        h("button", { class: "button primary", type: "button", onclick: () => edit(null) }, icon("plus"), "Add a user"))),
    place));
}

function table(users, { edit, remove }) {
  return h("table", { class: "table" },
    h("thead", {}, h("tr", {},
      ["Name", "Roles", "Cameras", "State", "Since"].map((name) => h("th", { scope: "col" }, name)),
      h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")))),
    h("tbody", {}, users.map((account) => h("tr", {},
      h("th", { scope: "row" }, account.name, account.name === me().name && h("span", { class: "dim" }, " (you)")),
      h("td", {}, account.roles.join(", ")),
      h("td", {}, account.cameras === null ? "all" : account.cameras.join(", ") || "none"),
      h("td", {}, account.disabled ? h("span", { class: "badge" }, "disabled") : "may sign in"),
      h("td", { class: "nowrap figures" }, fullDateTime(account.created_ms)),
      h("td", { class: "end" }, h("div", { class: "button-group" },
        h("button", { class: "button quiet small", type: "button", "aria-label": `Change ${account.name}`, onclick: () => edit(account) },
          icon("edit"), "Change"),
        h("button", { class: "button quiet small", type: "button", "aria-label": `Remove ${account.name}`, onclick: () => remove(account) },
          icon("remove"), "Remove")))))));
}

/** A new account (null) or a change of one. Resolves with what was sent, null when dismissed. */
async function userDialog(account, cameraIds) {
  const name = account ? null : field("Name", h("input", { type: "text", required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false", autofocus: true }));
  const password = field(account ? "New password" : "Password", h("input", { type: "password", autocomplete: "new-password" }),
    { hint: `At least ${SHORTEST_PASSWORD} characters; ${account ? "left empty, it stays as it is" : "they can change it after signing in"}` });
  const roles = Object.keys(ROLES).map((role) =>
    [role, h("input", { type: "checkbox", checked: account?.roles.includes(role) ?? false })]);
  const all = h("input", { type: "radio", name: newId("cameras"), checked: !account || account.cameras === null });
  const some = h("input", { type: "radio", name: all.name, checked: !all.checked });
  const known = [...new Set([...cameraIds, ...(account?.cameras ?? [])])].sort();
  const boxes = known.map((id) => [id, h("input", { type: "checkbox", checked: account?.cameras?.includes(id) ?? false })]);
  const chosen = h("div", { class: "options", role: "group", "aria-label": "These cameras" },
    boxes.map(([id, box]) => h("label", { class: "check" }, box, id)),
    !known.length && h("p", { class: "hint" }, "No camera is known yet"));
  const follow = () => { chosen.hidden = all.checked; };
  all.addEventListener("change", follow);
  some.addEventListener("change", follow);
  follow();
  const disabled = h("input", { type: "checkbox", checked: account?.disabled ?? false });
  // password managers file the new password under the right name
  const owner = account && h("input", { type: "text", autocomplete: "username", value: account.name, readonly: true, hidden: true });

  async function run() {
    if (name && !name.check(name.control.value.trim() ? null : "A name is needed")) throw new Error("Something is missing above.");
    if (!account && !password.check(password.control.value ? null : "A password is needed")) throw new Error("Something is missing above.");
    const wanted = {
      roles: ["viewer", ...roles.filter(([, box]) => box.checked).map(([role]) => role)],
      cameras: all.checked ? null : boxes.filter(([, box]) => box.checked).map(([id]) => id),
    };
    if (password.control.value) wanted.password = password.control.value;
    if (account) return api.patch(`/api/users/${encodeURIComponent(account.name)}`, { ...wanted, disabled: disabled.checked });
    return api.post("/api/users", { ...wanted, name: name.control.value.trim() });
  }

  const asked = openDialog({
    title: account ? `Change ${account.name}` : "Add a user",
    body: [
      owner, name?.element,
      password.element,
      h("fieldset", { class: "field" }, h("legend", {}, "Roles"),
        h("p", { class: "hint" }, "Everybody sees the live wall and the recordings of their cameras."),
        roles.map(([role, box]) => h("label", { class: "check" }, box, h("span", {}, h("strong", { class: "strong" }, role), h("span", { class: "dim" }, `: ${ROLES[role]}`))))),
      h("fieldset", { class: "field" }, h("legend", {}, "Cameras"),
        h("div", { class: "options" },
          h("label", { class: "check" }, all, "All, new ones too"),
          h("label", { class: "check" }, some, "Only these")),
        chosen),
      account && h("label", { class: "check" }, disabled, "Disabled: may not sign in"),
      account && h("p", { class: "hint" }, "A change ends their sessions."),
    ],
    submit: { label: account ? "Save" : "Add", run },
  });
  return asked.done;
}
