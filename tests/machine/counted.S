# SPDX-License-Identifier: Apache-2.0
# In M-mode, without anything else: how many instructions retire between two reads of minstret, for pieces of code that a count may get wrong. Prints
# a line of hexadecimal numbers to the serial port; tests/machine/record.py knows what they must be.
.globl _start
.option norelax
_start:
    la t0, handler
    csrw mtvec, t0
    la sp, stack
    li s0, 0x10000000
    j loops

.macro MEASURE
    csrr s2, minstret
.endm
.macro REPORT                   # what is between MEASURE and this, with the csrr that measures
    csrr s3, minstret
    sub a0, s3, s2
    call print
.endm

loops:
    MEASURE
    REPORT                      # 1
    li t1, 1000000              # a loop of 3 instructions
    MEASURE
1:  addi t1, t1, -1
    add t2, t2, t1
    bnez t1, 1b
    REPORT                      # 3000001
    li t1, 100000               # leaves its block in the middle, every other time
    MEASURE
2:  addi t1, t1, -1
    andi t2, t1, 1
    bnez t2, 3f
    addi t3, t3, 1
    addi t3, t3, 1
3:  bnez t1, 2b
    REPORT                      # 500001: 4 and 6 instructions
    li t1, 1000                 # calls
    MEASURE
4:  call leaf
    addi t1, t1, -1
    bnez t1, 4b
    REPORT                      # 5001 (auipc of the call: not where it relaxes to jal)
    MEASURE                     # an illegal instruction does not retire, its handler does: 7 instructions
    .word 0
    REPORT                      # 8
    MEASURE                     # nor does a load from nowhere
    li t0, 0x500
    lw t0, 0(t0)
    REPORT                      # 9
    MEASURE                     # stores to a device do
    sb zero, 7(s0)
    sb zero, 7(s0)
    REPORT                      # 3
    li t1, 100000               # and code that writes itself
    MEASURE
    la t0, patched
    lw t2, 0(t0)
    sw t2, 0(t0)
    fence.i
patched:
    addi t3, t3, 1
    REPORT                      # 7
    li t0, 1000                 # what is written is what is read next
    csrw minstret, t0
    csrr a0, minstret
    call print                  # 1000
    li a0, 10
    sb a0, 0(s0)
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
    j .

leaf:
    ret

.balign 4
handler:                        # 7 instructions with mret
    csrr t6, mepc
    addi t6, t6, 4
    csrw mepc, t6
    nop
    nop
    nop
    mret

# a0 in hexadecimal, and a space.
print:
    li t0, 60
5:  srl t1, a0, t0
    andi t1, t1, 15
    li t2, 10
    blt t1, t2, 6f
    addi t1, t1, 'a' - '0' - 10
6:  addi t1, t1, '0'
    sb t1, 0(s0)
    addi t0, t0, -4
    bgez t0, 5b
    li t1, ' '
    sb t1, 0(s0)
    ret
.bss
.balign 16
.space 256
stack:
