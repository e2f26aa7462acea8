#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""virtio devices as a driver sees them; see virtio_test.c. Environment: BUILD. Ends with "N passed, N failed"."""
import os

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "virtio_test")

if __name__ == "__main__":
    os.execv(TOOL, [TOOL])
