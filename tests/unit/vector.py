#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vector loads and stores of paged guests against those of processes; see vector_test.c. Environment: BUILD, SEED. Ends with "N passed, N failed"."""
import os

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "vector_test")

if __name__ == "__main__":
    os.execv(TOOL, [TOOL, os.environ.get("SEED", "1"), "20000"])
