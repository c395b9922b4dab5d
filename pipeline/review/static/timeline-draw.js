// Draws the timeline's rows on a canvas, sharp at every pixel density, in the page's own colours.

const COLORS = ["ground", "sunken", "line", "line-strong", "text", "dim", "accent", "accent-line", "attention"];
const MIXED = {
  recorded: "color-mix(in srgb, var(--line-strong) 24%, var(--sunken))",
  played: "color-mix(in srgb, var(--accent) 24%, var(--sunken))",
};
const AXIS_REM = 1.5;
const ROW_REM = 1.75;
const LABEL_REM = 5.5; // room of one label

/** The theme's colours and measures as a canvas needs them. */
export class Palette {
  constructor(element) {
    this.element = element;
    this.probe = document.createElement("span");
    this.probe.hidden = true;
    this.element.append(this.probe);
    this.read();
  }

  /** After a change of theme or size. */
  read() {
    const style = getComputedStyle(this.probe);
    for (const name of COLORS) {
      this.probe.style.color = `var(--${name})`;
      this[name] = style.color;
    }
    for (const [name, mix] of Object.entries(MIXED)) {
      this.probe.style.color = mix;
      this[name] = style.color;
    }
    this.remPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.axisPx = Math.round(AXIS_REM * this.remPx);
    this.rowPx = Math.round(ROW_REM * this.remPx);
    this.labelPx = LABEL_REM * this.remPx;
    const { fontFamily } = getComputedStyle(this.element);
    this.font = `400 ${0.6875 * this.remPx}px ${fontFamily}`;
    this.strongFont = `600 ${0.6875 * this.remPx}px ${fontFamily}`;
  }
}

/** `view`: {scale, cameras, camera, data, nowMs}. */
export function drawTimeline(canvas, palette, view) {
  const density = globalThis.devicePixelRatio || 1;
  const { width } = view.scale;
  const height = palette.axisPx + palette.rowPx * Math.max(1, view.cameras.length);
  const size = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, width, height);
  view.cameras.forEach((camera, row) => drawRow(pen, palette, view, camera, palette.axisPx + row * palette.rowPx));
  drawAxis(pen, palette, view, height);
  drawNow(pen, palette, view, height);
}

function drawRow(pen, palette, { scale, camera: played, data }, camera, top) {
  const height = palette.rowPx - 1;
  pen.fillStyle = palette.sunken;
  pen.fillRect(0, top, scale.width, height);
  const row = data.rows.get(camera);
  if (!row) return;
  const { from_ms: fromMs, bucket_ms: bucketMs } = data.answer;
  pen.fillStyle = camera === played ? palette.played : palette.recorded;
  for (const [start, end] of row.segments) fillSpan(pen, scale, start, end, top, height);
  pen.fillStyle = camera === played ? palette.accent : palette["accent-line"];
  const tallest = height - 5;
  row.people.forEach((people, bucket) => {
    if (!people) return;
    const tall = Math.max(2, (people / data.most) * tallest);
    const start = fromMs + bucket * bucketMs;
    fillSpan(pen, scale, start, start + bucketMs, top + height - tall, tall, 1);
  });
  pen.fillStyle = palette.attention;
  row.obscured.forEach((frames, bucket) => {
    const start = fromMs + bucket * bucketMs;
    if (frames) fillSpan(pen, scale, start, start + bucketMs, top, 3);
  });
}

/** At least a pixel wide, so that nothing vanishes; `gap` pixels are left at its end. */
function fillSpan(pen, scale, startMs, endMs, top, height, gap = 0) {
  const left = Math.max(0, scale.x(startMs));
  const right = Math.min(scale.width, scale.x(endMs));
  if (right <= 0 || left >= scale.width) return;
  const wide = right - left;
  pen.fillRect(left, top, Math.max(1, wide > 3 ? wide - gap : wide), height);
}

function drawAxis(pen, palette, { scale, nowMs }, height) {
  const nowX = scale.x(nowMs);
  pen.textBaseline = "middle";
  for (const { ms, label, strong } of scale.ticks(palette.labelPx)) {
    const x = Math.round(scale.x(ms)) + 0.5;
    pen.fillStyle = strong ? palette["line-strong"] : palette.line;
    pen.fillRect(x - 0.5, 0, 1, height);
    pen.font = strong ? palette.strongFont : palette.font;
    pen.fillStyle = strong ? palette.text : palette.dim;
    const wide = pen.measureText(label).width + 10;
    const isCovered = nowX > x - wide / 2 && nowX < x + wide * 1.3; // by "now"
    if (!isCovered) pen.fillText(label, x + 5, palette.axisPx / 2);
  }
}

function drawNow(pen, palette, { scale, nowMs }, height) {
  if (nowMs < scale.fromMs || nowMs > scale.toMs) return;
  const x = Math.round(scale.x(nowMs));
  pen.fillStyle = palette.attention;
  pen.globalAlpha = 0.7;
  pen.fillRect(x, palette.axisPx, 1, height - palette.axisPx);
  pen.globalAlpha = 1;
  pen.font = palette.strongFont;
  const wide = pen.measureText("now").width;
  pen.fillStyle = palette.ground;
  pen.fillRect(x - wide / 2 - 3, 2, wide + 6, palette.axisPx - 4);
  pen.fillStyle = palette.attention;
  pen.fillText("now", x - wide / 2, palette.axisPx / 2);
}
