// Requests to the console's own API: JSON in and out, one error type, one place that notices the end of a session.

const PATIENCE_MS = 20_000;

let csrf = null;
let onSignedOut = () => {};

/** An answer that is not a success. `message` is one line for people. */
export class ApiError extends Error {
  constructor(status, message, retryAfterSeconds = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The token that unsafe requests carry; it comes with the session. */
export function setCsrf(token) {
  csrf = token;
}

/** What is called when the server says that the session is over. */
export function whenSignedOut(call) {
  onSignedOut = call;
}

/** The session is over, and some other part (a WebSocket) has learned it. */
export function signedOut() {
  onSignedOut();
}

/** Whether this error only says that its page was left. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

/** A path with its query; empty values are left out. */
export function path(base, query = {}) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === "" || value === false) continue;
    parts.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = parts.toString();
  return text ? `${base}?${text}` : base;
}

async function request(method, url, { body, signal, query, patienceMs = PATIENCE_MS, quiet } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  const limit = AbortSignal.timeout(patienceMs);
  let answer;
  try {
    answer = await fetch(path(url, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
      credentials: "same-origin",
    });
    if (answer.status === 204) return null;
    if (answer.ok) return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw new DOMException("the page was left", "AbortError");
    if (error.name === "TimeoutError") throw new ApiError(0, "The console does not answer.");
    throw new ApiError(0, "The console cannot be reached.");
  }
  const problem = await failure(answer);
  if (answer.status === 401 && !quiet) onSignedOut();
  throw problem;
}

/** The error that an unsuccessful answer stands for. */
export async function failure(answer) {
  let message = `The console answered ${answer.status}.`;
  try {
    message = (await answer.json()).error ?? message;
  } catch { /* not JSON: the status says enough */ }
  message = message.charAt(0).toUpperCase() + message.slice(1); // it stands alone here, as a sentence
  return new ApiError(answer.status, message, Number(answer.headers.get("Retry-After")) || 0);
}

/** Options: `query`, `signal`, `patienceMs`, `quiet` (a 401 is answered by the caller). */
export const api = {
  get: (url, options) => request("GET", url, options),
  post: (url, body = {}, options = {}) => request("POST", url, { ...options, body }),
  patch: (url, body, options = {}) => request("PATCH", url, { ...options, body }),
  remove: (url, options) => request("DELETE", url, options),
};
