// The console's own line icons, on a grid of 24 with a stroke of 1.6.

import { svg } from "./dom.js";

const PATHS = {
  live: "M3 5h18v12H3zM8 21h8M12 17v4M10 8.5l5 2.5-5 2.5z",
  recordings: "M4 4h16v16H4zM4 9h16M4 15h16M9 4v5M15 4v5M9 15v5M15 15v5",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.6c2.1.8 3.5 2.7 3.5 5.4",
  requests: "M6 3h9l4 4v14H6zM15 3v4h4M9 13l2.2 2.2L15.5 11",
  users: "M12 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4.2 3.5-7 8-7s8 2.8 8 7",
  audit: "M5 4h14v17H5zM9 2.5h6V6H9zM8.5 11h7M8.5 15h7",
  system: "M4 4h16v6H4zM4 14h16v6H4zM7.5 7h.01M7.5 17h.01M12 7h5M12 17h5",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8M4.9 19.1l1.8-1.8M17.3 6.7l1.8-1.8",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  contrast: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 3v18M12 7h5.5M12 11h8.5M12 15h8M12 19h4.5",
  signout: "M14 4H5v16h9M10 12h11M17.5 8.5L21 12l-3.5 3.5",
  password: "M4 11h16v10H4zM8 11V7.5a4 4 0 0 1 8 0V11M12 15v2.5",
  play: "M7 4.5l12 7.5-12 7.5z",
  pause: "M8 5v14M16 5v14",
  stepForward: "M5 5l9 7-9 7zM18 5v14",
  stepBack: "M19 5l-9 7 9 7zM6 5v14",
  next: "M9 5l7 7-7 7",
  previous: "M15 5l-7 7 7 7",
  down: "M5 9l7 7 7-7",
  up: "M5 15l7-7 7 7",
  download: "M12 3v12M7 10.5l5 5 5-5M4 20h16",
  upload: "M12 16V4M7 8.5l5-5 5 5M4 20h16",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  exitFullscreen: "M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5",
  close: "M5 5l14 14M19 5L5 19",
  check: "M4.5 12.5l5 5 10-11",
  plus: "M12 4v16M4 12h16",
  minus: "M4 12h16",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L21 21",
  filter: "M3 5h18l-7 8.5V20l-4-2v-4.5z",
  alert: "M12 3.5L22 20.5H2zM12 10v5M12 17.7h.01",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.5M12 7.8h.01",
  lock: "M5 11h14v10H5zM8 11V7.5a4 4 0 0 1 8 0V11",
  key: "M8 16a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12.5 11.5H22M18.5 11.5V15M22 11.5v2.5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.5l3.5 2",
  camera: "M3 7h13v10H3zM16 10.5l5-3v9l-5-3",
  cameraOff: "M3 7h9M16 10.5l5-3v9l-5-3M3 7v10h13V11M3 3l18 18",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  remove: "M4 6.5h16M9 6.5V4h6v2.5M6.5 6.5l1 14h9l1-14M10 10.5v6M14 10.5v6",
  edit: "M4 20l1-4.5L16.5 4 20 7.5 8.5 19zM14 6.5l3.5 3.5",
  shield: "M12 3l8 3v6c0 4.8-3.3 7.9-8 9-4.7-1.1-8-4.2-8-9V6z",
  jump: "M4 12h15M13 6l6 6-6 6",
  zoomIn: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L21 21M7.5 10.5h6M10.5 7.5v6",
  zoomOut: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L21 21M7.5 10.5h6",
  refresh: "M20 11a8 8 0 1 0-.8 4.5M20 4.5V11h-6.5",
  ban: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM5.7 5.7l12.6 12.6",
  keyboard: "M2.5 6h19v12h-19zM6 10h.01M10 10h.01M14 10h.01M18 10h.01M7.5 14h9",
  link: "M10 14l4-4M9 11l-3.5 3.5a3.5 3.5 0 0 0 5 5L14 16M15 13l3.5-3.5a3.5 3.5 0 0 0-5-5L10 8",
  panel: "M3 5h18v14H3zM14.5 5v14",
  scissors: "M6 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM6 21a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8.5 7.5L20 18M8.5 16.5L20 6",
};

/** One icon. It is decoration: the control that holds it has its own words or aria-label. */
export function icon(name, size = 16) {
  if (!(name in PATHS)) throw new RangeError(`no icon ${name}`);
  return svg(
    "svg",
    {
      class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false",
      style: { "--icon": `${size / 16}rem` },
    },
    svg("path", { d: PATHS[name] }),
  );
}

/** The mask: Bauta's mark. */
export function mark() {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    svg("path", {
      class: "mark-face",
      d: "M6 5h20c1 8.5-1.2 15-4.2 19L20.5 28 16 24l-4.5 4-1.3-4C7.2 20 5 13.5 6 5z",
    }),
    svg("path", {
      class: "mark-eyes",
      d: "M8.8 12.2c1.9-1.7 4.5-1.7 5.9.7-1.6 1.5-4.4 1.5-5.9-.7zm14.4 0c-1.9-1.7-4.5-1.7-5.9.7 1.6 1.5 4.4 1.5 5.9-.7z",
    }),
    svg("path", { class: "mark-nose", d: "M16 13.8v6.4l-1.6 1.3" }),
  );
}
