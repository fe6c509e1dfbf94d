# SPDX-License-Identifier: Apache-2.0
"""Properties are tested without a deadline: what else runs on the machine says nothing about a parser."""

from hypothesis import settings

settings.register_profile("overlaywatch", deadline=None)
settings.load_profile("overlaywatch")
