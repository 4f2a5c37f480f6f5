/*
 * look: tells the host about files of the image that is this guest's root. A host writes it into the guest and runs it as a job; README
 * says what it can be asked.
 */
#include "questions.h"
#include "tell.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The root filesystem as it is without what is mounted on it. It is there as long as the descriptor is. */
static void enter_image(void)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
                                          MOUNT_ATTR_NOEXEC};
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
        fchdir(fd) < 0 || chroot(".") < 0)
        tell_failed("the root filesystem");
}

static uint64_t decimal_of(const char *s)
{
    return strtoull(s, NULL, 10);
}

int main(int argc, char **argv)
{
    const char *question = argc > 2 ? argv[1] : "";

    enter_image();
    if (strcmp(question, "list") == 0 && argc == 5)
        look_list(argv[2], decimal_of(argv[3]), argv[4]);
    if (strcmp(question, "read") == 0 && argc == 5)
        look_read(argv[2], decimal_of(argv[3]), decimal_of(argv[4]));
    if (strcmp(question, "walk") == 0 && argc == 3)
        look_walk(argv[2]);
    if (strcmp(question, "grep") == 0 && argc == 9)
        look_grep(&(struct look_search){.path = argv[2],
                                        .ms = (int64_t)decimal_of(argv[3]),
                                        .per_file = decimal_of(argv[4]),
                                        .total = decimal_of(argv[5]),
                                        .flags = decimal_of(argv[6]),
                                        .glob = argv[7],
                                        .pattern = argv[8]});
    static const char usage[] = "look: no such question\n";
    return write(STDERR_FILENO, usage, sizeof(usage) - 1) < 0 ? 1 : 2;
}
