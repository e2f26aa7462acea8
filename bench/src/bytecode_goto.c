/* SPDX-License-Identifier: Apache-2.0 */
/* An interpreter's loop, by computed goto: the same machine and program as bytecode_switch. */
#include "bytecode.h"
