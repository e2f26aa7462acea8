#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Regions and the optimiser against one instruction after the other; see opt_test.c. Environment: BUILD, SEED. Ends with "N passed, N failed"."""
import os

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "opt_test")

if __name__ == "__main__":
    os.execv(TOOL, [TOOL, str(int(os.environ.get("SEED", "1")) * 100000), "3000"])
