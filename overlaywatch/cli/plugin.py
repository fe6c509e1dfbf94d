# SPDX-License-Identifier: Apache-2.0
"""The line of a monitoring plugin, for answers and for what goes wrong before there is one.

This file must not know what is checked. Format: Monitoring Plugins Development Guidelines, "Plugin Output".
"""

from overlaywatch.cli.screen import printable


def plugin_line(status: str, text: str, data: str = "") -> str:
    """`OVERLAYWATCH STATUS: text | data` on one line; a bar in the text would begin the data."""
    told = " ".join(text.split()).replace("|", "/")
    return f"OVERLAYWATCH {status}: {printable(told)}" + (f" | {data}" if data else "")
