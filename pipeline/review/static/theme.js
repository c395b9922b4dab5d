// Dark, light, or as the system says. Runs before the first paint; the choice stays in this browser.

const KEY = "bauta.theme";
const CHOICES = ["auto", "dark", "light"];

/** auto | dark | light */
export function theme() {
  const kept = stored();
  return CHOICES.includes(kept) ? kept : "auto";
}

/** Takes a choice up and keeps it. */
export function setTheme(choice) {
  try {
    localStorage.setItem(KEY, choice);
  } catch { /* private windows: the choice lasts as long as the page */ }
  apply(choice);
}

/** The choice after this one, for a switch with one button. */
export const nextTheme = (choice) => CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
}

apply(theme());
