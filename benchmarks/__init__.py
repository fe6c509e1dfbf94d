# SPDX-License-Identifier: Apache-2.0
"""What the daemon costs, measured: `python -m benchmarks` prints the tables of docs/benchmarks.md.

Nothing here is a test: figures depend on the machine, and on what else it does. The peer
(node_exporter) is measured in the same run.
"""
