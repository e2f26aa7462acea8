/* SPDX-License-Identifier: Apache-2.0 */
/* What both debugger stubs tell GDB about vector registers, with the names of fields that users know from other stubs [GDB manual,
 * "target description format", "RISC-V features"]. Their number, and that of the CSRs, is the stub's choice. */
#ifndef ISA_RISCV_GDB_XML_H
#define ISA_RISCV_GDB_XML_H

#include "isa/riscv/riscv.h"

/* Begins the feature: the type "riscv_vector", of registers v0 to v31. */
#define RV_GDB_VECTOR_TYPES \
    "<feature name=\"org.gnu.gdb.riscv.vector\"><vector id=\"quads\" type=\"uint128\" count=\"1\"/><vector id=\"longs\" type=\"uint64\" count=\"2\"/>" \
    "<vector id=\"words\" type=\"uint32\" count=\"4\"/><vector id=\"shorts\" type=\"uint16\" count=\"8\"/><vector id=\"bytes\" type=\"uint8\" count=\"16\"/>" \
    "<union id=\"riscv_vector\"><field name=\"q\" type=\"quads\"/><field name=\"l\" type=\"longs\"/><field name=\"w\" type=\"words\"/>" \
    "<field name=\"s\" type=\"shorts\"/><field name=\"b\" type=\"bytes\"/></union>"
_Static_assert(RV_VLENB == 16, "the types above are for registers of 16 bytes");

#endif
