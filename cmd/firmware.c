/* SPDX-License-Identifier: Apache-2.0 */
/* Where packages put boot loaders for the virt board that run in S-mode. U-Boot comes first: it is there sooner, and knows extlinux besides EFI. */
#include "cmd/firmware.h"
#include "back/back.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *path;
    bool flash;
} places[] = {
    {"/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin", false},        /* Debian, Ubuntu: u-boot-qemu */
    {"/usr/share/uboot/qemu-riscv64_smode/u-boot.bin", false},       /* Fedora: uboot-images-riscv64 */
    {"/usr/share/u-boot/qemu-riscv64_smode/u-boot.bin", false},      /* openSUSE, Alpine */
    {"/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd", true},        /* Debian, Ubuntu: qemu-efi-riscv64 */
    {"/usr/share/edk2/riscv/RISCV_VIRT_CODE.fd", true},              /* Fedora: edk2-riscv64 */
    {"/usr/share/qemu/edk2-riscv-code.fd", true},                    /* QEMU's own */
    {"/usr/local/share/qemu/edk2-riscv-code.fd", true},
};

bool firmware_find(Firmware *out, char *why, size_t why_size) {
    const char *root = getenv("ISOMER_FIRMWARE");
    for (size_t k = 0; k < ARRAY_LEN(places); k++) {
        int n = snprintf(out->path, sizeof out->path, "%s%s", root ? root : "", places[k].path);
        out->flash = places[k].flash;
        if (n < (int)sizeof out->path && access(out->path, R_OK) == 0) return true;
    }
    return back_fail(why, why_size, "no --kernel is given, and there is no boot loader to start what is on the disk: the package u-boot-qemu has one, and qemu-efi-riscv64");
}
