// The API as people read it, made from /openapi.json. Nothing is fetched from elsewhere.

const METHODS = ["get", "post", "patch", "put", "delete"];

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const lastOf = (reference) => reference.slice(reference.lastIndexOf("/") + 1);

/** A schema in a few words: "list of PersonOut", "integer, 0 to 10", "text or null". */
function inWords(schema) {
  if (!schema || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) return lastOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map(inWords).join(" or ");
  if (schema.type === "array") {
    if (schema.prefixItems) return `[${schema.prefixItems.map(inWords).join(", ")}]`;
    return `list of ${inWords(schema.items)}`;
  }
  if (schema.type === "object" && schema.additionalProperties) {
    return `names to ${inWords(schema.additionalProperties)}`;
  }
  const name = { string: "text", null: "null" }[schema.type] ?? schema.type;
  const limits = [
    ["from", schema.minimum], ["to", schema.maximum],
    ["at least", schema.minLength], ["at most", schema.maxLength],
  ].filter(([, limit]) => limit !== undefined);
  return [name, ...limits.map(([word, limit]) => `${word} ${limit}`)].join(" ");
}

function table(rows) {
  return make("table", {}, make("tbody", {}, ...rows.map(
    (cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))),
  )));
}

/** The fields of an object's schema, each with its type and whether it must be given. */
function fields(schema, schemas) {
  const target = schema?.$ref ? schemas[lastOf(schema.$ref)] : schema;
  const list = target?.type === "array" ? target.items : undefined;
  if (list) return fields(list, schemas);
  if (!target?.properties) return null;
  const needed = new Set(target.required ?? []);
  return table(Object.entries(target.properties).map(([name, property]) => [
    name,
    inWords(property),
    needed.has(name) ? "" : "may be left out",
  ]));
}

function content(part) {
  const kinds = Object.entries(part?.content ?? {});
  return kinds.length ? { kinds: kinds.map(([kind]) => kind).join(", "), schema: kinds[0][1].schema } : null;
}

function operation(path, method, found, schemas) {
  const roles = found["x-roles"];
  const who = !roles ? "anybody" : roles.includes("viewer") ? "whoever is signed in" : roles.join(" or ");
  const panel = make("section", { className: "api-operation", id: found.operationId },
    make("h3", {}, make("span", { className: "api-method" }, method.toUpperCase()), path),
    make("p", {}, found.description ?? found.summary ?? ""),
    make("p", { className: "dim small" }, `For ${who}.${roles && method !== "get" ? " Needs X-CSRF-Token." : ""}`),
  );
  const parameters = (found.parameters ?? []).map((one) => [
    one.name,
    inWords(one.schema),
    `${one.in === "path" ? "in the path" : "in the query"}${one.required ? "" : ", may be left out"}`,
  ]);
  if (parameters.length) panel.append(make("h4", {}, "Parameters"), table(parameters));
  const body = content(found.requestBody);
  if (body) panel.append(make("h4", {}, `Body: ${inWords(body.schema)}`), fields(body.schema, schemas) ?? "");
  const answers = Object.entries(found.responses);
  const good = answers.filter(([status]) => status < 400);
  for (const [status, answer] of good) {
    const has = content(answer);
    panel.append(make("h4", {}, `${status}: ${has?.schema?.$ref || has?.schema?.items ? inWords(has.schema) : has?.kinds ?? "nothing"}`));
    const inside = has && fields(has.schema, schemas);
    if (inside) panel.append(inside);
  }
  const bad = answers.filter(([status]) => status >= 400).map(([status]) => status);
  if (bad.length) panel.append(make("p", { className: "dim small" }, `Else {"error": "…"} with ${bad.join(", ")}.`));
  return panel;
}

function about(document_) {
  const paragraphs = document_.info.description.split("\n\n").map(
    (text) => make("p", {}, text.replaceAll("`", "").replaceAll("\n", " ")),
  );
  return [make("h1", {}, `${document_.info.title} ${document_.info.version}`), ...paragraphs,
    make("p", {}, make("a", { href: "/openapi.json" }, "/openapi.json"), " is the same for programs.")];
}

function show(document_) {
  const byTag = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((one) => one in methods)) {
      const found = methods[method];
      const tag = found.tags?.[0] ?? "other";
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push({ path, method, found });
    }
  }
  const schemas = document_.components?.schemas ?? {};
  const index = document.getElementById("index");
  const operations = document.getElementById("operations");
  document.getElementById("about").replaceChildren(...about(document_));
  operations.replaceChildren();
  for (const [tag, list] of byTag) {
    const entries = list.map(({ path, method, found }) => make("li", {},
      make("a", { href: `#${found.operationId}` }, make("span", { className: "api-method" }, method.toUpperCase()), path)));
    index.append(make("section", {}, make("h2", {}, tag), make("ul", {}, ...entries)));
    operations.append(make("section", {}, make("h2", {}, tag),
      ...list.map(({ path, method, found }) => operation(path, method, found, schemas))));
  }
  operations.removeAttribute("aria-busy");
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function filter(text) {
  const wanted = text.trim().toLowerCase();
  for (const panel of document.querySelectorAll(".api-operation, .api-index li")) {
    panel.hidden = !panel.textContent.toLowerCase().includes(wanted);
  }
  for (const group of document.querySelectorAll("#index > section, #operations > section")) {
    group.hidden = !group.querySelector(".api-operation:not([hidden]), li:not([hidden])");
  }
}

document.getElementById("find").addEventListener("input", (event) => filter(event.target.value));
try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
  show(await answer.json());
} catch (error) {
  document.getElementById("operations").replaceChildren(
    make("p", { className: "note danger", role: "alert" }, `The API's description could not be read: ${error.message}`),
  );
}
