"""Reports in Chromium: at a telephone's width, light and dark, heard by axe-core, asking nobody for anything."""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_comparison_page import comparison_in
from test_evaluation_page import evaluation_in

from gesture.report import page as report
from reported_runs import calibrated, run_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
TELEPHONE = 390
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
SCHEMES = {"dark": 0, "light": 1}
"""As Blink numbers them."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")

WRAPPER = """<!DOCTYPE html><title>reads the page in its frame</title>
<iframe id=frame width={width} height=800 srcdoc="{page}"></iframe><pre id=found></pre>
<script>{script}</script>
"""
MEASURE = """
document.getElementById('frame').onload = event => {
  const inside = event.target.contentWindow, root = inside.document.documentElement;
  const wide = [...inside.document.querySelectorAll('body *')].filter(one =>
    !one.closest('.scroll') && one.getBoundingClientRect().right > inside.innerWidth + 1).map(one => one.outerHTML);
  document.getElementById('found').textContent = JSON.stringify({
    width: root.scrollWidth, wide, background: inside.getComputedStyle(inside.document.body).backgroundColor,
    fetched: inside.performance.getEntriesByType('resource').map(one => one.name)});
};
"""
HEAR = """
document.getElementById('frame').onload = async event => {
  const inside = event.target.contentWindow, script = inside.document.createElement('script');
  script.textContent = axeSource;
  inside.document.head.append(script);
  const heard = await inside.axe.run();
  document.getElementById('found').textContent = JSON.stringify({
    passed: heard.passes.length, violations: heard.violations.map(one => [one.id, one.nodes.map(node => node.html)])});
};
"""


def run_page(tmp_path: Path) -> str:
    run = run_in(
        tmp_path / "logs" / "made", trained=("ann",), people=("ann", "a person with a rather long name", "cid")
    )
    calibrated(run, seen_in_training=True)
    return report.of_run(run)


PAGES: dict[str, Callable[[Path], str]] = {
    "run": run_page,
    "evaluation": lambda tmp_path: report.of_evaluation(evaluation_in(tmp_path / "evaluation")),
    "comparison": lambda tmp_path: report.of_comparison(comparison_in(tmp_path / "comparison")),
}


def seen(tmp_path: Path, page: str, script: str, scheme: str) -> Any:
    """What a script finds of a page in a frame of a telephone's width."""
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(WRAPPER.format(width=TELEPHONE, page=html.escape(page), script=script), encoding="utf-8")
    command = [
        *(CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"),
        wrapper.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<pre id=\"found\">(.+?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_it_fits_a_telephone_and_fetches_nothing(kind: str, scheme: str, tmp_path: Path) -> None:
    found = seen(tmp_path, PAGES[kind](tmp_path), MEASURE, scheme)
    assert found["width"] <= TELEPHONE
    assert found["wide"] == []
    assert [name for name in found["fetched"] if not name.startswith("data:")] == []
    assert found["background"] == ("rgb(20, 23, 26)" if scheme == "dark" else "rgb(255, 255, 255)")


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core (npm install axe-core, or AXE_CORE=<its axe.min.js>)")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_axe_core_finds_no_fault(kind: str, scheme: str, tmp_path: Path) -> None:
    page = POLICY.sub("", PAGES[kind](tmp_path))  # which would keep axe-core out too
    source = json.dumps(AXE.read_text(encoding="utf-8")).replace("</", "<\\/")
    found = seen(tmp_path, page, f"const axeSource = {source};{HEAR}", scheme)
    assert found["violations"] == []
    assert found["passed"] > 20
