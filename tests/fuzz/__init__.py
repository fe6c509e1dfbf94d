# SPDX-License-Identifier: Apache-2.0
"""Every parser of foreign text against texts that nobody wrote: `make fuzz`, and in small in the everyday tests.

Read `table.py` first: it lists the parsers. `mutator.py` makes inputs of real ones, `oracles.py` says what must hold
of what was parsed, `campaign.py` runs a parser over a million inputs and makes a failing one small.
"""
