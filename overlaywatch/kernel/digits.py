# SPDX-License-Identifier: Apache-2.0
"""How numbers are spelled in the kernel's text.

This file must not know what is counted.
"""

from typing import Final

NUMBER: Final = "[0-9]{1,20}"
"""A part of regular expressions: ASCII digits, and no more of them than 64 bits have.

int() would also take the digits of other scripts, and refuses 4300 of any with an error of its own.
"""
