#include "image/adopt.h"

#include "base/cleanup.h"
#include "image/build.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/manifest.h"
#include "image/names.h"
#include "image/sbom.h"

#include <string.h>
#include <sys/stat.h>

#define STORE_DEADLINE_MS (60 * 1000)
#define INITD_DEADLINE_MS (10 * 1000)

/* What "initd --version" says after the name, without the newline. The caller frees it. */
static char *initd_version(const char *initd, struct error *e)
{
    const char *argv[] = {initd, "--version", NULL};
    cleanup_buffer struct buffer text = {0};

    if (child_capture(argv, 256, deadline_in_ms(INITD_DEADLINE_MS), NULL, &text, e) < 0)
        return NULL;
    char *word = text_trim(strncmp(text.data, "initd ", 6) == 0 ? text.data + 6 : text.data);
    return text_format("%.64s", word);
}

/* Writes the bill of materials beside the image. */
static int write_sbom(const struct config *config, const struct home *h, const struct image *i,
                      struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    char initd_digest[DIGEST_HEX_SIZE];
    struct packages packages;

    if (home_digest(h, initd, initd_digest, e) < 0 || image_packages(&packages, h, i, e) < 0)
        return -1;
    cleanup_free char *text = sbom_make(i->digest, &packages, i->initd, initd_digest);
    packages_done(&packages);
    if (!text)
        return error_set(e, ERROR_GENERAL, "the bill of materials of %s cannot be written", image_label(i));
    return blobs_put_text(h, &image_sboms, i->digest, text, e);
}

int image_lock_all(const struct home *h, const struct cancel *cancel, struct error *e)
{
    return home_lock(h, "images", "changing the images", deadline_in_ms(STORE_DEADLINE_MS), cancel, e);
}

/* Moves a built file and its records into the store; i has digest and path and gets the rest. */
static int store_files(const struct config *config, const struct home *h, struct image *i,
                       const struct build_paths *built, struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    struct stat st;

    i->initd = initd_version(initd, e);
    if (!i->initd)
        return -1;
    if (stat(built->output, &st) < 0)
        return error_errno(e, "cannot look at %s", built->output);
    i->size = (uint64_t)st.st_size;
    i->created = clock_realtime_ns() / 1000000000;
    return blobs_put(h, &image_package_records, i->digest, built->lock_out, e) < 0 ||
                   blobs_put(h, &image_files, i->digest, built->output, e) < 0
               ? -1
               : write_sbom(config, h, i, e);
}

/* Under the lock. */
static int adopt_locked(struct image *i, const struct config *config, const struct home *h,
                        const struct image_adoption *a, const struct cancel *cancel, struct error *e)
{
    if (store_files(config, h, i, a->paths, e) < 0)
        return -1;
    return a->name ? image_take_name(i, h, cancel, e) : image_pin(i, h, cancel, e);
}

int image_adopt(struct image *ret, const struct config *config, const struct home *h,
                const struct image_adoption *a, const struct cancel *cancel, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    cleanup_fd int store = image_lock_all(h, cancel, e);
    if (store < 0 || home_digest(h, a->paths->output, digest, e) < 0)
        return -1;
    struct image i = {.name = text_copy(a->name),
                      .digest = text_copy(digest),
                      .inputs = text_copy(a->inputs),
                      .path = blobs_path(h, &image_files, digest),
                      .disk_mib = a->disk_mib};
    image_set_oci(&i, a->oci);
    int result = adopt_locked(&i, config, h, a, cancel, e);
    if (result == 0)
        *ret = i;
    else
        image_done(&i);
    return result;
}
