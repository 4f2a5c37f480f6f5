/* image: records of packages, manifests and bills of materials, good and bad. */
#include "base/cleanup.h"
#include "base/file.h"
#include "image/image.h"
#include "image/manifest.h"
#include "image/manifest.h"
#include "image/sbom.h"

#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char record[] = "deb bash 5.2.15-2+b13 " SHA "\n"
                             "deb libstdc++6 1:12.2.0~rc1-14 " SHA "\n"
                             "npm @scope/tool 1.0.0-beta.1+x " SHA "\n"
                             "pip scikit-learn 1.5.2 " SHA "\n";

START_TEST(test_record)
{
    struct error e = {0};
    struct packages p;

    ck_assert_int_eq(packages_parse(&p, record, "r", &e), 0);
    ck_assert_uint_eq(p.count, 4);
    ck_assert_str_eq(p.list[0].name, "bash");
    ck_assert_str_eq(p.list[1].version, "1:12.2.0~rc1-14");
    ck_assert_str_eq(p.list[2].kind, "npm");
    ck_assert_str_eq(p.list[2].name, "@scope/tool");
    ck_assert_str_eq(p.list[2].sha256, SHA);
    packages_done(&p);
}
END_TEST

static const char *const bad_records[] = {
    "",
    "\n",
    "deb bash 1 " SHA, /* no newline: cut off */
    "deb bash 1\n",
    "deb bash 1 " SHA " more\n",
    "deb bash 1 " SHA "\n\n",
    "deb  bash 1 " SHA "\n",
    "rpm bash 1 " SHA "\n",
    "deb ba\tsh 1 " SHA "\n",
    "deb bash 1;rm " SHA "\n",
    "deb b$(x) 1 " SHA "\n",
    "deb bash 1 " SHA "0\n",
    "deb bash 1 0123\n",
    "deb bash 1 --\n",
    "deb bash 1 " SHA "\ndeb dash 1 ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
};

START_TEST(test_bad_record)
{
    struct error e = {0};
    struct packages p;

    ck_assert_int_eq(packages_parse(&p, bad_records[_i], "the file", &e), -1);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(e.text, "the file"));
}
END_TEST

/* No cut of a good record, and no changed byte of it, does harm; what is taken is as many packages. */
START_TEST(test_damaged_record)
{
    for (size_t i = 0; i < sizeof(record); i++) {
        char text[sizeof(record)];
        struct error e = {0};
        struct packages p;
        memcpy(text, record, sizeof(record));
        text[i] = '\0';
        if (packages_parse(&p, text, "r", &e) == 0)
            packages_done(&p);
        memcpy(text, record, sizeof(record));
        if (i < sizeof(record) - 1)
            text[i] ^= 0x20;
        if (packages_parse(&p, text, "r", &e) == 0) {
            ck_assert_uint_eq(p.count, 4);
            packages_done(&p);
        }
    }
}
END_TEST

START_TEST(test_manifest)
{
    struct error e = {0};
    struct image i;

    ck_assert_int_eq(image_parse_manifest(&i,
                                          "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA
                                          "\", \"size\": 5, \"created\": 7, \"initd\": \"0.1-x\"}",
                                          &e),
                     0);
    ck_assert_str_eq(i.digest, SHA);
    ck_assert_str_eq(i.initd, "0.1-x");
    ck_assert_uint_eq(i.size, 5);
    image_done(&i);
    /* As earlier versions wrote it. */
    ck_assert_int_eq(
        image_parse_manifest(
            &i, "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": 5, \"created\": 7}", &e),
        0);
    ck_assert_str_eq(i.initd, "");
    image_done(&i);
}
END_TEST

/* The file and what programs get decide which image it is; what it is called, and when it was made, do not. */
START_TEST(test_identity)
{
    static const char *const same[] = {"", "\"name\": \"x\", ", "\"disk_mib\": 7, ", "\"layers\": [], ",
                                       "\"defaults\": {}, "};
    static const char *const others[] = {"\"defaults\": {\"env\": [\"A=1\"]}, ",
                                         "\"defaults\": {\"env\": [\"A=2\"]}, ",
                                         "\"oci\": {\"user\": \"1\"}, ",
                                         "\"oci\": {\"workdir\": \"/x\"}, ",
                                         "\"layers\": [\"" SHA "\"], ",
                                         "\"layers\": [{\"digest\": \"" SHA "\", \"kind\": \"ext4\"}], "};
    char uuids[1 + sizeof(others) / sizeof(others[0])][IMAGE_UUID_SIZE];
    struct error e = {0};
    struct image i;

    digest_uuid(SHA, uuids[0]);
    for (size_t n = 0; n < sizeof(same) / sizeof(same[0]) + sizeof(others) / sizeof(others[0]); n++) {
        size_t other = n < sizeof(same) / sizeof(same[0]) ? 0 : n - sizeof(same) / sizeof(same[0]) + 1;
        cleanup_free char *text =
            text_format("{%s\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": 5, \"created\": %zu}",
                        other ? others[other - 1] : same[n], n);
        ck_assert_int_eq(image_parse_manifest(&i, text, &e), 0);
        if (other == 0)
            ck_assert_str_eq(i.uuid, uuids[0]);
        else
            strcpy(uuids[other], i.uuid);
        for (size_t k = 0; k < other; k++)
            ck_assert_str_ne(i.uuid, uuids[k]);
        image_done(&i);
    }
}
END_TEST

static const char *const bad_manifests[] = {
    "",
    "null",
    "[]",
    "{}",
    "{\"digest\": \"" SHA "\"",
    "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": -5, \"created\": 7}",
    "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": \"5\", \"created\": 7}",
    "{\"digest\": \"../../../../etc/passwd\", \"inputs\": \"" SHA "\", \"size\": 5, \"created\": 7}",
    "{\"digest\": \"" SHA "\", \"inputs\": \"x\", \"size\": 5, \"created\": 7}",
    "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": 5, \"created\": 7, \"initd\": 3}",
#define GOOD "{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": 5, \"created\": 7, "
    GOOD "\"parent\": \"../names/x\"}",
    GOOD "\"origin\": {\"kind\": \"stolen\"}}",
    GOOD "\"origin\": \"branch\"}",
    GOOD "\"layers\": {}}",
    GOOD "\"layers\": [\"x\"]}",
    GOOD "\"layers\": [{\"digest\": \"" SHA "\"}]}",
    GOOD "\"layers\": [{\"digest\": \"" SHA "\", \"kind\": \"xfs\"}]}",
    GOOD "\"layers\": [{\"digest\": \"../" SHA "\", \"kind\": \"ext4\"}]}",
    GOOD "\"layers\": [{\"digest\": \"" SHA "\", \"kind\": \"ext4\", \"size\": -1}]}",
};

START_TEST(test_bad_manifest)
{
    struct error e = {0};
    struct image i;

    ck_assert_int_eq(image_parse_manifest(&i, bad_manifests[_i], &e), -1);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
}
END_TEST

static char root[64];

static char *reference(const char *name)
{
    return text_format("%s/images/names/%s.json", root, name);
}

static int remove_next(const struct image *i, void *context)
{
    unsigned *count = context;
    cleanup_free char *next = reference("b");

    ck_assert_str_eq(i->name, ++*count == 1 ? "a" : "c");
    unlink(next);
    return 0;
}

/* An image that another process removes meanwhile is not in the list, and no error. */
START_TEST(test_removed_while_listed)
{
    const struct home h = {.path = strcpy(root, "/tmp/capsid-unit-XXXXXX")};
    struct error e = {0};
    unsigned count = 0;

    ck_assert_ptr_nonnull(mkdtemp(root));
    cleanup_free char *directory = text_format("%s/images/names", root);
    ck_assert_int_eq(file_make_directories(directory, &e), 0);
    for (const char *name = "a\0b\0c\0"; *name; name += 2) {
        cleanup_free char *path = reference(name);
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        fputs("{\"digest\": \"" SHA "\", \"inputs\": \"" SHA "\", \"size\": 1, \"created\": 1}", f);
        ck_assert_int_eq(fclose(f), 0);
    }
    ck_assert_int_eq(image_each(&h, remove_next, &count, &e), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(file_remove_tree(root, &e), 0);
}
END_TEST

START_TEST(test_sbom)
{
    struct error e = {0};
    struct packages p;

    ck_assert_int_eq(packages_parse(&p, record, "r", &e), 0);
    char *text = sbom_make(SHA, &p, "0.1-x", SHA), *again = sbom_make(SHA, &p, "0.1-x", SHA);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, again);
    ck_assert_ptr_nonnull(strstr(text, "\"pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0~rc1-14\""));
    ck_assert_ptr_nonnull(strstr(text, "\"pkg:npm/%40scope/tool@1.0.0-beta.1%2Bx\""));
    ck_assert_ptr_nonnull(strstr(text, "\"pkg:pypi/scikit-learn@1.5.2\""));
    json_t *j = json_loads(text, 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(j, "packages")), 6);
    ck_assert_uint_eq(json_array_size(json_object_get(j, "relationships")), 6);
    json_decref(j);
    free(text);
    free(again);
    packages_done(&p);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_image");

    unit_add(&u, test_record);
    unit_add_loop(&u, test_bad_record, sizeof(bad_records) / sizeof(bad_records[0]));
    unit_add(&u, test_damaged_record);
    unit_add(&u, test_manifest);
    unit_add(&u, test_identity);
    unit_add_loop(&u, test_bad_manifest, sizeof(bad_manifests) / sizeof(bad_manifests[0]));
    unit_add(&u, test_removed_while_listed);
    unit_add(&u, test_sbom);
    return unit_end(&u);
}
