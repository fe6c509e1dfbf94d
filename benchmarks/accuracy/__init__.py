# SPDX-License-Identifier: Apache-2.0
"""How true the announced headroom is: chains built on a real kernel, filled to failure, and compared.

`cases` says what is built, `builders` builds it, `writer` fills it, `measure` does both in a lab guest, `judge`
compares, `report` writes docs/accuracy.md.
"""
