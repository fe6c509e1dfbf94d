# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a writable overlay that fills before one's eyes, and what the daemon does about it.

`play` is the same wherever it is given; `stages` are the places: a snapshot of this machine's own kernel, a
live system in the lab kernel, or an overlay in a private namespace. `alone` is the same live system without
the daemon. `plot` holds the policy, `screen` the lines, `runaway` is the program that writes too much.
"""
