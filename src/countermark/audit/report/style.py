"""How a report looks: one style sheet for words, figures and pictures, in the light and in the dark."""

from __future__ import annotations

# Copies are vermilion and unseen sets blue, colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
LIGHT = """--paper: #fff; --ink: #1f2328; --soft: #59636e; --rule: #d1d9e0; --wash: #f5f7f9;
  --made: #c2410c; --made-fill: rgba(213, 94, 0, .30); --null: #8b95a1; --null-fill: rgba(110, 122, 135, .38);
  --unseen: #0072b2; --caution: #9a6700; --caution-wash: #fff8e5; --mark: #ffe3cf"""
DARK = """--paper: #14171b; --ink: #e6e9ed; --soft: #9aa5b1; --rule: #343b44; --wash: #1c2127;
  --made: #ff9a57; --made-fill: rgba(255, 138, 61, .34); --null: #8b95a1; --null-fill: rgba(150, 162, 176, .34);
  --unseen: #56b4e9; --caution: #e3b341; --caution-wash: #2a2410; --mark: #6b3410"""
#: Pictures and figures; in terms of the colours, so that other pages can show them too.
FIGURES = """.caution { background: var(--caution-wash); border-left: 3px solid var(--caution); padding: .5rem .9rem }
figure { margin: 0 }
figcaption, small { color: var(--soft); font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere }
img { display: block; image-rendering: pixelated; background: #000; max-width: 100%; height: auto }
.nopic { display: inline-grid; place-items: center; width: 84px; height: 84px; background: var(--wash);
  color: var(--soft); border: 1px dashed var(--rule) }
.three { display: flex; flex-wrap: wrap; gap: 1.2rem; margin: .8rem 0 1rem } .three figure { max-width: 224px }
.three figcaption { margin-top: .35rem }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: 1rem .8rem;
  margin-top: .8rem }
.gallery b { display: block; color: var(--ink) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .9rem; margin: .6rem 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
svg { display: block; width: 100%; max-width: 760px; height: auto; margin: .8rem 0; font-size: 12.5px }
svg text { fill: var(--ink) } svg .tick { fill: var(--soft); font-variant-numeric: tabular-nums }
svg .axis { stroke: var(--soft) } svg .grid { stroke: var(--rule) } svg .rail { fill: var(--wash) }
svg .null { fill: var(--null-fill); stroke: var(--null) }
svg .made { fill: var(--made-fill); stroke: var(--made); stroke-width: 1.4 }
svg .found { fill: var(--made) } svg .other { fill: var(--null) } svg .unseen { fill: var(--unseen) }
svg .decides { fill: none; stroke: var(--ink); stroke-width: 1.6 }
svg .chance { fill: none; stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 2 4 }
svg .mark { stroke: var(--ink); fill: none; stroke-dasharray: 5 3 }
svg .whisker { fill: none; stroke: var(--ink); stroke-width: 1.6 }
svg .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px }
"""
_PAGE = """* { box-sizing: border-box }
body { font: 16px/1.6 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 54rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.6rem; line-height: 1.3; margin: .1rem 0 .8rem }
h2 { font-size: 1.2rem; line-height: 1.35; margin: 3rem 0 .5rem } h3 { font-size: 1rem; margin: 1.6rem 0 .3rem }
p { margin: .5rem 0; max-width: 44rem }
header { border-left: 5px solid var(--soft); padding-left: 1.2rem } header.copies { border-color: var(--made) }
.kicker { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere }
.verdict { font-size: 1.12rem }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.2rem }
.tiles div { flex: 1 1 9rem; background: var(--wash); border-radius: 6px; padding: .6rem .9rem; font-size: .82rem;
  line-height: 1.4; color: var(--soft) }
.tiles b { display: block; font-size: 1.3rem; color: var(--ink); font-variant-numeric: tabular-nums }
.digests dd { font: .8rem/1.7 ui-monospace, "DejaVu Sans Mono", monospace }
.wide { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; width: 100% }
th { text-align: left; font-weight: 600; color: var(--soft); vertical-align: bottom; line-height: 1.3 }
th, td { padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--rule) } td { vertical-align: middle }
td small { display: block; max-width: 7.5rem }
ul, ol { padding-left: 1.3rem; max-width: 44rem } li { margin: .35rem 0 }
article { border: 1px solid var(--rule); border-radius: 6px; padding: .8rem 1.1rem; margin: 1rem 0 }
blockquote { font: .95rem/1.75 "Noto Serif", "Noto Serif CJK SC", Georgia, "Songti SC", serif; margin: .3rem 0 .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow-y: auto }
mark { background: var(--mark); color: inherit; border-radius: 2px }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); color: var(--soft); font-size: .85rem }
@media print { body { max-width: none; padding: 0 } section { break-inside: avoid-page }
  blockquote { max-height: none } }
"""
STYLE = (
    f"\n:root {{ color-scheme: light dark; {LIGHT} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}\n{_PAGE}{FIGURES}"
)
