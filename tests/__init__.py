# SPDX-License-Identifier: Apache-2.0
"""A package, so that no other `tests` on the path can take its place."""
