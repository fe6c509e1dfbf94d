# SPDX-License-Identifier: Apache-2.0
"""The lab: a real Linux kernel as an ordinary process (User Mode Linux), booted in two seconds.

`uml` boots a guest from the host, `guest` is what runs in it as process 1, `plugin` lets the
host's pytest run the tests marked `kernel` in one such guest. None of it knows what is tested.
"""
