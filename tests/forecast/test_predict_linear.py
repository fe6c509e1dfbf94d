# SPDX-License-Identifier: Apache-2.0
"""The predict_linear that our forecast is compared with is Prometheus': promtool says the same, to the last bit."""

import json
import random
from pathlib import Path

import pytest

from benchmarks.forecast.predict_linear import Sample, Window, predict_linear, regress
from tests.tools import output_of

STEP = 15_000
COUNT = 300
HORIZON = 4 * 3600


def series(seed: int) -> list[Sample]:
    """Bytes of a room, every 15 s, with noise, steps, level stretches and a hole."""
    rng, room, samples = random.Random(seed), 3 << 30, []
    for number in range(COUNT):
        room += rng.choice([0, 0, -rng.randrange(1 << 20), rng.randrange(-(1 << 27), 1 << 24) if seed % 2 else 0])
        if not 100 < number < 120:
            samples.append((number * STEP, max(0, room)))
    return samples


def cases() -> dict[str, list[Sample]]:
    """Several series, one of them level."""
    return {f"case{seed}": series(seed) for seed in range(6)} | {"level": [(i * STEP, 77) for i in range(COUNT)]}


def as_values(samples: list[Sample]) -> str:
    """What promtool takes as `values`: `_` where there is none."""
    known = dict(samples)
    return " ".join(str(known.get(number * STEP, "_")) for number in range(COUNT))


def expected(minutes: int, at: int) -> list[dict[str, object]]:
    """What we say at `at` milliseconds, in the words of promtool. JSON keeps every bit of a float."""
    found = []
    for name, samples in cases().items():
        window = [one for one in samples if at - minutes * 60_000 <= one[0] <= at]
        value = predict_linear(window, at, HORIZON)
        if value is not None:
            found.append({"labels": f'{{case="{name}"}}', "value": value})
    return found


def test_promtool_computes_the_same(tmp_path: Path) -> None:
    """Real Prometheus, at moments between its samples, for four windows: nothing differs."""
    questions = [
        {"expr": f"predict_linear(room[{minutes}m], {HORIZON})", "eval_time": f"{at}ms", "exp_samples": wanted}
        for minutes in (5, 10, 30, 60)
        for at in range(61_000, COUNT * STEP, 431_000)
        if (wanted := expected(minutes, at))
    ]
    inputs = [{"series": f'room{{case="{name}"}}', "values": as_values(samples)} for name, samples in cases().items()]
    test = {"interval": "15s", "input_series": inputs, "promql_expr_test": questions}
    (tmp_path / "test.yml").write_text(json.dumps({"evaluation_interval": "15s", "tests": [test]}))  # YAML holds JSON
    done = output_of(["promtool", "test", "rules", tmp_path / "test.yml"])
    assert len(questions) > 30
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("seconds", [60, 300, 1800])
def test_sliding_window_says_what_the_whole_one_does(seconds: int) -> None:
    """The window that forgets sample by sample has the same line as one that is summed anew."""
    for name, samples in cases().items():
        window = Window(seconds)
        for number, (at, value) in enumerate(samples):
            window.push(at, value)
            whole = regress([one for one in samples[: number + 1] if one[0] >= at - seconds * 1000], at)
            assert window.line(at) == (None if whole is None else pytest.approx(whole, rel=1e-6, abs=1e-3)), name
