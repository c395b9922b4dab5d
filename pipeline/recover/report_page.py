"""The page of a recovery's report; `report.py` fills it."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>{{TITLE}}</title>
<style>
:root {
  color-scheme: light dark;
  --text: #1c1c1e; --back: #fff; --line: #d8d8dc; --soft: #6a6a70; --good: #1c6b34; --bad: #a3201b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #ececef; --back: #18181a; --line: #3a3a3e; --soft: #a2a2a8;
    --good: #6fcf8d; --bad: #ff8a80;
  }
}
body {
  font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
}
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
.verdict { font-weight: 600; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td {
  text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere;
}
th { font-weight: 500; color: var(--soft); width: 8rem; }
thead th { width: auto; }
figure { margin: 0 0 1.2rem; }
figcaption { color: var(--soft); margin-bottom: .3rem; }
img {
  max-width: 48%; max-height: 20rem; margin-right: 1%; vertical-align: top;
  border: 1px solid var(--line);
}
footer { margin: 2.5rem 0 1rem; color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; margin: 0; } }
</style>
</head>
<body>
<h1>{{TITLE}}</h1>
<p class="verdict {{VERDICT_CLASS}}">{{VERDICT}}</p>
{{REQUEST}}
<h2>Asked for</h2>
<table>{{ASKED}}</table>
<h2>Recovered</h2>
<table>{{FOUND}}</table>
<h2>Each track’s largest frame: protected, recovered</h2>
{{STILLS}}
<h2>Not recovered</h2>
{{GAPS}}
<h2>Origin</h2>
{{FINDINGS}}
<div class="wide"><table>
<thead><tr>
<th>Frames</th><th>Sealed from</th><th>Site, camera</th><th>Keys of</th><th>Origin</th>
</tr></thead>
<tbody>{{EPOCHS}}</tbody>
</table></div>
<h2>Proof</h2>
<table>{{PROOF}}</table>
<footer>{{TOOL}}. A track is what the tracker took for one face; one person may have several.
This page shows people: keep it as the law wants it kept.</footer>
</body>
</html>
"""
