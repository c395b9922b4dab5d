// A command to be run on one's own machine: shown whole, quoted for a shell, copied with one press.

import { h, replace } from "./dom.js";
import { icon } from "./icons.js";
import { announce } from "./toast.js";

const COPIED_MS = 2000;

/** One word of a POSIX shell, quoted only where it must be. */
export function quoted(word) {
  return /^[A-Za-z0-9_.,:/@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The box with the command of these words. */
export function commandBox(words) {
  const text = words.map(quoted).join(" ");
  const button = h("button", { class: "button small", type: "button" });
  const rest = () => replace(button, icon("copy", 14), "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not over plain HTTP from another machine: select it, so that Ctrl+C does it
      getSelection().selectAllChildren(code);
      announce("The command is selected; copy it with Control C");
      return;
    }
    replace(button, icon("check", 14), "Copied");
    announce("Copied");
    setTimeout(rest, COPIED_MS);
  });
  rest();
  // a line ends between words, never inside one such as --case
  const code = h("code", {}, words.flatMap((word, index) => [index ? " " : "", h("span", {}, quoted(word))]));
  return h("div", { class: "command" }, code, button);
}
