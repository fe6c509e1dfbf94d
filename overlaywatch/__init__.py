# SPDX-License-Identifier: Apache-2.0
"""overlaywatch: knows how much room a live-booted root really has, and acts before it ends.

Theory of operation, in the order in which the data flows:

    kernel bytes ─parse─▶ records ─sources─▶ Layer + Reading ─topology─▶ chains, headroom, limit
        ─history─▶ Forecast ─policy.evaluate─▶ Decision ─plan─▶ Plan ─apply─▶ Outcome

Everything from the records to the Decision is pure: no clock, no file, no socket, no log. All that
one look found out is one frozen `model.Tick`. `engine/` takes the looks, with privilege, and listens
to nothing; `frontend/` listens and delivers, without privilege, and is told every Tick through a pipe.

Read the flat modules first, in this order: units, model, topology, history, forecast, policy, pace,
ports. Then `registry.py` for what is plugged into them.
"""

__version__ = "0.1.0"
