// Who is signed in, and what the site is called. One copy, changed by main.js and the sign-in page alone.

import { setCsrf } from "./api.js";

/** Characters; the server's rule, said before it has to be broken. */
export const SHORTEST_PASSWORD = 12;

let current = null;
let place = { site: "", version: "", demo: false, accounts: [] };

/** {name, roles, cameras} of the person signed in; null when nobody is. */
export const user = () => current;
/** Whether they have one of these roles: viewer, requester, approver, admin. */
export const has = (...roles) => current !== null && roles.some((role) => current.roles.includes(role));
/** {site, version, demo, accounts} */
export const site = () => place;

/** The answer of /api/session, or null. */
export function setSession(answer) {
  current = answer?.user ?? null;
  setCsrf(answer?.csrf ?? null);
}

/** The answer of /api/site. */
export function setSite(answer) {
  place = answer;
}
