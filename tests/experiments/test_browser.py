"""The report in a real browser: every figure is drawn, and nothing overflows on a desktop or a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from experiments import report
from tests.experiments.agents import PUBLISHED, Agent, published, rates
from tests.experiments.synthetic import Plan, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; apt-get install chromium"),
]

DESKTOP, PHONE = 1280, 390

# Put into a copy of the report: measures it and tells the page around it (an iframe of a given width).
MEASURE = """<script>addEventListener('load', () => {
  const wide = innerWidth, out = {width: wide, scroll: document.documentElement.scrollWidth, figures: {}, over: []};
  for (const figure of document.querySelectorAll('figure')) {
    const svg = [...figure.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0);
    const box = svg.length ? svg[0].getBoundingClientRect() : {width: 0, height: 0};
    const inside = [...(svg.length ? svg[0].querySelectorAll('path, use') : [])]
      .map(e => e.getBoundingClientRect()).filter(r => r.width + r.height > 0);
    const tips = svg.length ? svg[0].querySelectorAll('g > title').length : 0;
    const out_of_box = inside.filter(r => r.left < box.left - 2 || r.right > box.right + 2 ||
      r.top < box.top - 2 || r.bottom > box.bottom + 2).length;
    out.figures[figure.id] = {shown: svg.length, width: box.width, height: box.height, marks: inside.length,
      tips: tips, out_of_box: out_of_box};
  }
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('.table') && !e.matches('.table')) continue;   // a table scrolls in its own box
    if (e.closest('svg') && e.tagName !== 'svg') continue;       // judged by its figure
    const r = e.getBoundingClientRect();
    if (r.width > 0 && (r.right > wide + 1 || r.left < -1)) out.over.push(e.tagName + '.' + e.className);
  }
  parent.postMessage(JSON.stringify(out), '*');
});</script>"""

AROUND = """<!doctype html><body style="margin:0"><iframe src="%s" style="border:0;width:%dpx;height:3000px">
</iframe><pre id="told"></pre><script>addEventListener('message', e => {
document.getElementById('told').textContent = e.data;});</script></body>"""


def chromium(page: Path, folder: Path, *arguments: str) -> str:
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-dev-shm-usage", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
        *arguments, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def measured(page: Path, folder: Path, width: int) -> dict:
    copy = page.with_name(f"measured-{width}.html")
    copy.write_text(page.read_text().replace("</body>", MEASURE + "</body>"))
    around = page.with_name(f"around-{width}.html")
    around.write_text(AROUND % (copy.name, width))
    dumped = chromium(around, folder, "--dump-dom", "--virtual-time-budget=20000", "--window-size=1400,900")
    found = re.search(r'<pre id="told">(.+?)</pre>', dumped, re.DOTALL)
    assert found, dumped[-2000:]
    return json.loads(unescape(found.group(1)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report with every kind of figure, one of a half-finished sweep, and one of agents."""
    folder = tmp_path_factory.mktemp("browser")
    domains = {"math": ("gsm8k", "math500"), "code": ("mbpp", "humaneval"), "knowledge": ("medqa", "pubmedqa")}
    full = Plan(
        domains=domains, algorithms=("grpo", "dapo"), steps=(50, 100), items=25, samples=2, kl=True,
        texts=("wait, let me check", "Step 1: plan", "42"), study="algorithms",
    )  # fmt: skip
    half = Plan(items=25, unfinished=(("code", 0), ("code", 1)))
    made = {
        name: report.build(write(folder / f"store-{name}", plan), "synthetic", folder / name)
        for name, plan in (("full", full), ("half", half))
    }
    agents = published(folder / "store-agents", tasks=50, checkpoints=(135, 150), seeds=(0, 1), spread=3.0)
    for share in (0.5, 1.0):
        agents.train(Agent("sokoban", rates(PUBLISHED["v2"]["sokoban"]), augment={"epsilon": 40, "probability": share}))
    agents.probe("v2")
    made["agents"] = report.build(agents.finish(), "agents", folder / "agents")
    return folder, made


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["full", "half", "agents"])
def test_every_figure_is_drawn_and_nothing_overflows(pages, name, width):
    folder, made = pages
    result = measured(made[name].path, folder, width)
    assert result["width"] == width
    assert result["scroll"] <= width
    assert result["over"] == []
    assert set(result["figures"]) == {f"figure-{figure}" for figure in made[name].figures}
    for figure, seen in result["figures"].items():
        assert seen["shown"] == 1, f"{figure}: the wide or the narrow form, not both or none"
        assert seen["width"] >= 0.8 * min(width, 700), figure
        assert seen["height"] > 100, figure
        assert seen["marks"] > 20, figure
        assert seen["tips"] > 0, f"{figure}: no hover numbers"
        assert seen["out_of_box"] == 0, f"{figure}: marks outside of the picture"


def test_the_full_report_has_every_kind_of_figure(pages):
    _, made = pages
    assert set(made["full"].figures) == {
        "contrasts", "transfer", "cells", "benchmarks", "trajectory", "forgetting", "reasoning",
    }  # fmt: skip
    assert {"matrix", "ood_scores", "axes"} <= set(made["agents"].figures)


def test_colours_reach_the_screen(pages):
    """What is drawn is really painted: the blue and the vermilion of the two sides are on the picture."""
    folder, made = pages
    picture = folder / "full.png"
    chromium(made["full"].path, folder, f"--screenshot={picture}", f"--window-size={DESKTOP},6000")
    pixels = np.round(matplotlib.image.imread(picture)[..., :3] * 255).astype(int)
    for colour in ((0, 114, 178), (213, 94, 0)):
        close = (np.abs(pixels - np.array(colour)).max(axis=2) <= 3).sum()
        assert close > 500
