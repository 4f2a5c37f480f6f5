#include "root.h"

#include "layers.h"
#include "power.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* A filesystem of memory on the image's /mnt holds what the overlay is made of:
 *   base/    the image; layer0/ ... the other read-only layers; up/ the writable one; root/ the overlay
 * itself */
#define WORK "/mnt"

/* Directories of the layers as they were made, and of what takes the changes: no job can cover these. */
static int layer_fds[LAYERS_MAX];
static unsigned layer_count;
static int up_fd = -1;
static bool up_is_disk;

static int mount_layer(const struct root_layer *layer, unsigned index, struct text *lower,
                       const char **ret_step)
{
    static char step[DEVICE_NAME_MAX + 8];
    char source[DEVICE_NAME_MAX + 8], target[] = WORK "/layer0/upper";
    char *inside = strrchr(target, '/');

    inside[-1] = (char)('0' + index);
    text_join(source, sizeof(source), "/dev/", layer->device, NULL);
    text_join(step, sizeof(step), "layer ", layer->device, NULL);
    *ret_step = step;
    *inside = '\0';
    if (mkdir(target, 0755) < 0 ||
        mount(source, target, layer->ext4 ? "ext4" : "erofs", MS_RDONLY | MS_NODEV, NULL) < 0)
        return -errno;
    *inside = layer->ext4 ? '/' : '\0';
    layer_fds[index] = open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (layer_fds[index] < 0)
        return -errno;
    text_add(lower, target);
    text_add(lower, ":");
    return 0;
}

/* The root itself is the upper directory, so it has to look like the topmost layer's. */
static int open_upper(bool made)
{
    struct stat st;

    up_fd = open(WORK "/up/upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up_fd < 0)
        return -errno;
    if (!made)
        return 0;
    if ((layer_count ? fstat(layer_fds[layer_count - 1], &st) : stat("/", &st)) < 0 ||
        fchown(up_fd, st.st_uid, st.st_gid) < 0 || fchmod(up_fd, st.st_mode & 07777) < 0)
        return -errno;
    return 0;
}

static int mount_upper(const char *device)
{
    char source[DEVICE_NAME_MAX + 8];

    if (mkdir(WORK "/up", 0700) < 0)
        return -errno;
    if (*device) {
        text_join(source, sizeof(source), "/dev/", device, NULL);
        if (mount(source, WORK "/up", "ext4", MS_NODEV, NULL) < 0)
            return -errno;
    }
    bool made = mkdir(WORK "/up/upper", 0755) == 0;
    if ((!made && errno != EEXIST) || (mkdir(WORK "/up/work", 0755) < 0 && errno != EEXIST))
        return -errno;
    up_is_disk = *device;
    return open_upper(made);
}

/* Half of the memory is its bound of bytes, as tmpfs has it by itself; for names see ROOT_NAME_BYTES. */
static int mount_work(void)
{
    char options[64];
    struct text t = text_of(options, sizeof(options));
    struct sysinfo info;

    text_add(&t, "mode=700");
    if (sysinfo(&info) == 0) {
        text_add(&t, ",nr_inodes=");
        text_add_u64(&t, (uint64_t)info.totalram * info.mem_unit / ROOT_NAME_BYTES);
    }
    return mount("tmpfs", WORK, "tmpfs", MS_NODEV, options);
}

int root_make(const struct root_plan *plan, const char **ret_step)
{
    char options[512];
    struct text t = text_of(options, sizeof(options));

    *ret_step = "tmpfs for the overlay";
    if (mount_work() < 0 || mkdir(WORK "/root", 0755) < 0)
        return -errno;

    text_add(&t, "lowerdir=");
    /* The leftmost lower directory is the topmost. */
    for (unsigned i = plan->layer_count; i-- > 0;) {
        int r = mount_layer(&plan->layers[i], i, &t, ret_step);
        if (r < 0)
            return r;
    }
    layer_count = plan->layer_count;
    text_add(&t, plan->bare ? ROOT_BASE : "/");
    text_add(&t, ",upperdir=" WORK "/up/upper,workdir=" WORK "/up/work");

    *ret_step = "upper disk";
    int r = mount_upper(plan->upper);
    if (r < 0)
        return r;

    *ret_step = "overlay";
    if (mount("overlay", WORK "/root", "overlay", 0, options) < 0)
        return -errno;
    return 0;
}

int root_enter(const struct root_plan *plan, const char **ret_step)
{
    static const char *const moved[] = {"/dev", "/proc", "/sys"};

    *ret_step = "moving mounts into the overlay";
    for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
        char target[32];
        text_join(target, sizeof(target), WORK "/root", moved[i], NULL);
        if (mount(moved[i], target, NULL, MS_MOVE, NULL) < 0 && i < 2)
            return -errno;
    }
    if (mount("tmpfs", WORK "/root/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=10%") < 0)
        return -errno;
    if (plan->upper[0] && (mkdir(WORK "/root" ROOT_UP_INSIDE, 0700) < 0 ||
                           mount(WORK "/up", WORK "/root" ROOT_UP_INSIDE, NULL, MS_MOVE, NULL) < 0))
        return -errno;

    *ret_step = "pivot_root";
    if (chdir(WORK "/root") < 0)
        return -errno;
    /* pivot_root(2): with "." twice, the old root lies over the new one and can be detached from there. */
    int r = sys_pivot_root(".", ".");
    if (r < 0)
        return r;
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return -errno;
    return 0;
}

/* ---- its end --------------------------------------------------------------------------------- */

bool root_is_changed(void)
{
    return layers_changed(up_fd, layer_fds, layer_count);
}

bool root_can_seal(unsigned fold)
{
    return up_is_disk && fold <= layer_count;
}

int root_seal(unsigned fold)
{
    power_kill_all();
    /* Who is root may have frozen it: then nothing could be written, and who waits for that could not end. */
    if (ioctl(up_fd, (int)FITHAW, 0) == 0)
        power_kill_all();
    for (unsigned i = 1; i <= fold; i++) {
        int r = layers_fold(layer_fds[layer_count - i], up_fd);
        if (r < 0)
            return r;
    }
    /* ioctl(2) of fs/ioctl.c, FIFREEZE: all is written back, and nothing is written any more. */
    return ioctl(up_fd, (int)FIFREEZE, 0) < 0 ? -errno : 0;
}
