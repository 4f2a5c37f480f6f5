#include "oci/finish.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "oci/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INITD_MAX (1u << 20)
#define ACCOUNTS_MAX (1u << 20)

/* Real directories, whatever the layers had there: initd mounts on them. */
static int make_mount_points(int root, struct error *e)
{
    static const struct {
        const char *name;
        mode_t mode;
    } points[] = {{"dev", 0755}, {"proc", 0555}, {"sys", 0555}, {"run", 0755}, {"tmp", 01777}, {"mnt", 0755}};

    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        cleanup_fd int fd = tree_make_directory(root, points[i].name, e);
        if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, points[i].mode) < 0)
            return error_set(e, ERROR_GENERAL, "/%s in the image cannot be made a directory", points[i].name);
    }
    return 0;
}

static bool has_line(const struct buffer *b, const char *beginning)
{
    const char *p = b->data;

    while (p && *p) {
        if (strncmp(p, beginning, strlen(beginning)) == 0)
            return true;
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return false;
}

/* Jobs run as the user 1000; programs that ask for its name get one. */
static int add_account(int root, const char *path, const char *first, const char *line, struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    if (tree_read(root, path, ACCOUNTS_MAX, &text, e) < 0)
        return -1;
    if (has_line(&text, "runner:"))
        return 0;
    if (text.size == 0)
        buffer_add_text(&text, "%s", first);
    if (text.data[text.size - 1] != '\n')
        buffer_add_text(&text, "\n");
    buffer_add_text(&text, "%s", line);
    return tree_write(root, path, 0644, text.data, text.size, e);
}

int finish_tree(int root_fd, int initd_fd, const char *defaults, struct error *e)
{
    static const struct {
        const char *path, *text;
    } files[] = {{"etc/hostname", "capsid\n"},
                 {"etc/hosts", "127.0.0.1 localhost capsid\n::1 localhost\n"},
                 {"etc/resolv.conf", ""},
                 {"etc/machine-id", ""}};
    cleanup_buffer struct buffer initd = {0};

    if (file_read_fd(initd_fd, "initd", INITD_MAX, &initd, e) < 0 || make_mount_points(root_fd, e) < 0 ||
        tree_write(root_fd, "sbin/initd", 0755, initd.data, initd.size, e) < 0 ||
        tree_write(root_fd, "etc/capsid-image.json", 0644, defaults, strlen(defaults), e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (tree_write(root_fd, files[i].path, 0644, files[i].text, strlen(files[i].text), e) < 0)
            return -1;
    if (add_account(root_fd, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n",
                    "runner:x:1000:1000:runner:/tmp:/bin/sh\n", e) < 0)
        return -1;
    return add_account(root_fd, "etc/group", "root:x:0:\n", "runner:x:1000:\n", e);
}
