"""Lighthouse's scores, on a desk and on a telephone as it simulates one."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import chromium

LEAST = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
PAGES = ("", "attention/causal/", "training/loss/", "generation/decoding/")
FORMS = {"desk": ["--preset=desktop"], "telephone": []}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("page", PAGES)
def test_lighthouse_scores_a_page_high(page, form, host, tmp_path):
    report = tmp_path / "report.json"
    subprocess.run(
        [
            shutil.which("lighthouse"),
            f"{host}/{page}",
            "--quiet",
            *FORMS[form],
            "--output=json",
            f"--output-path={report}",
            f"--only-categories={','.join(CATEGORIES)}",
            "--chrome-flags=--headless=new --no-sandbox",
        ],
        check=True,
        env={**os.environ, "CHROME_PATH": chromium()},
    )
    told = json.loads(report.read_text(encoding="utf-8"))
    scores = {name: round(100 * told["categories"][name]["score"]) for name in CATEGORIES}
    print(page, form, scores)
    failed = [
        f"{audit['id']}: {audit.get('displayValue', '')}"
        for audit in told["audits"].values()
        if audit["score"] is not None and audit["score"] < 0.9
    ]
    assert min(scores.values()) >= LEAST, f"{scores} {failed}"
