/* SPDX-License-Identifier: Apache-2.0 */
/* The older control calls of loop devices: their struct loop_info has numbers of devices, which x86-64 makes wider. */
//: needs: loop
#include "t.h"
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

/* A node of our own for a free device: /dev may not have it. Others may take it meanwhile. */
static int attach(int file) {
    int control = open("/dev/loop-control", O_RDWR);
    CHECK(control >= 0);
    for (int tries = 0; tries < 20; tries++) {
        char name[64];
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        CHECK(number >= 0);
        snprintf(name, sizeof name, "./loop.%d", getpid());
        CHECK(mknod(name, S_IFBLK | 0600, makedev(7, number)) == 0);
        int fd = open(name, O_RDWR);
        CHECK(fd >= 0 && unlink(name) == 0);
        if (ioctl(fd, LOOP_SET_FD, file) == 0) return fd;
        CHECK(errno == EBUSY && close(fd) == 0);
    }
    return -1;
}

static void print_loop(const struct loop_info *i) {
    printf("offset %d, encryption %d, key %d, flags %d, name %s, init %lx %lx\n", i->lo_offset, i->lo_encrypt_type,
           i->lo_encrypt_key_size, i->lo_flags, i->lo_name, i->lo_init[0], i->lo_init[1]);
}

int main(void) {
    char name[64];
    snprintf(name, sizeof name, "./image.%d", getpid());
    int file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600), device;
    CHECK(file >= 0 && ftruncate(file, 1 << 20) == 0 && unlink(name) == 0);
    CHECK((device = attach(file)) >= 0);
    struct stat backing;
    struct loop_info out, in = {.lo_offset = 4096, .lo_flags = LO_FLAGS_AUTOCLEAR, .lo_name = "a name"};
    uint64_t size = 0;
    CHECK(ioctl(device, LOOP_SET_STATUS, &in) == 0);
    CHECK(ioctl(device, BLKGETSIZE64, &size) == 0 && size == (1 << 20) - 4096);
    memset(&out, 0xff, sizeof out);
    CHECK(ioctl(device, LOOP_GET_STATUS, &out) == 0);
    print_loop(&out);
    CHECK(fstat(file, &backing) == 0 && out.lo_inode == backing.st_ino);
    FAILS(ioctl(device, LOOP_GET_STATUS, (void *)1), EFAULT);
    FAILS(ioctl(device, LOOP_SET_STATUS, (void *)1), EFAULT);
    FAILS(ioctl(file, LOOP_GET_STATUS, &out), ENOTTY);
    CHECK(ioctl(device, LOOP_CLR_FD) == 0);
}
