# SPDX-License-Identifier: Apache-2.0
"""How good the forecast is, beside Prometheus' predict_linear: `make forecast` prints the tables of docs/forecast.md.

traces.py has what happens to the room (made.py: generated, with fixed seeds; tests/traces: recorded), rules.py
what pages somebody, ours and theirs, score.py what became of it, __main__.py the tables.
"""
