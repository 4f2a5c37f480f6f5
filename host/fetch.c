/*
 * fetch: gets a file, or one program out of an archive, for capsid setup. A program of its own, so that capsid need not
 * load the libraries, and so that what they read from the network is read in a process that holds nothing else.
 *
 *   fetch get URL MAX        writes what the URL gives to standard output
 *   fetch unpack NAME MAX    reads a .tgz from standard input, writes the program NAME in it to standard output
 *
 * MAX is in bytes. On failure one line on standard error and status 1.
 */
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* libcurl's documentation of CURLOPT_*: what each of these does. */
#define REDIRECTIONS_MAX 5L
#define CONNECT_S 30L
#define SLOW_BYTES 1000L /* a second, over SLOW_S seconds: given up */
#define SLOW_S 60L
#define CHUNK 65536

static int fail_fetch(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail_fetch(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return 1;
}

struct sink {
    uint64_t size, max;
    bool full, failed;
};

static size_t on_data_fetch(char *data, size_t one, size_t size, void *context)
{
    struct sink *s = context;

    s->size += one * size;
    s->full = s->size > s->max;
    s->failed = !s->full && file_write_fd(STDOUT_FILENO, data, one * size) < 0;
    return s->full || s->failed ? 0 : one * size;
}

static int get(const char *url, uint64_t max)
{
    char why[CURL_ERROR_SIZE] = "";
    struct sink sink = {.max = max};
    CURL *c = curl_easy_init();

    if (!c)
        return fail_fetch("libcurl cannot be used");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https,http,file");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTIONS_MAX);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SLOW_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "capsid/" CAPSID_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data_fetch);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(c);
    curl_easy_cleanup(c);
    if (sink.full)
        return fail_fetch("%.200s is larger than %llu bytes", url, (unsigned long long)max);
    if (sink.failed)
        return fail_fetch("cannot write what %.200s gives: %m", url);
    return code == CURLE_OK
               ? 0
               : fail_fetch("cannot get %.200s: %.150s", url, why[0] ? why : curl_easy_strerror(code));
}

/* Releases call the program NAME, or NAME-vVERSION-ARCHITECTURE, and have NAME-v....debug beside it. */
static bool is_program(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t size = strlen(name);

    if (strncmp(base, name, size) != 0 || (dot && strcmp(dot, ".debug") == 0))
        return false;
    return base[size] == '\0' || strncmp(base + size, "-v", 2) == 0;
}

static int write_entry(struct archive *a, const char *name, uint64_t max)
{
    static char chunk[CHUNK];
    uint64_t size = 0;
    la_ssize_t n;

    while ((n = archive_read_data(a, chunk, sizeof(chunk))) > 0) {
        size += (uint64_t)n;
        if (size > max)
            return fail_fetch("%s in it is larger than %llu bytes", name, (unsigned long long)max);
        if (file_write_fd(STDOUT_FILENO, chunk, (size_t)n) < 0)
            return fail_fetch("cannot write %s: %m", name);
    }
    return n < 0 ? fail_fetch("the archive is damaged: %.200s", archive_error_string(a)) : 0;
}

static int unpack(const char *name, uint64_t max)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int result = -1, code;

    archive_read_support_filter_gzip(a);
    archive_read_support_format_tar(a);
    code = archive_read_open_fd(a, STDIN_FILENO, CHUNK);
    while (result < 0 && code >= ARCHIVE_WARN && (code = archive_read_next_header(a, &entry)) == ARCHIVE_OK)
        if (archive_entry_filetype(entry) == AE_IFREG && is_program(archive_entry_pathname(entry), name))
            result = write_entry(a, name, max);
    if (result < 0)
        result = code == ARCHIVE_EOF ? fail_fetch("there is no program %s in the archive", name)
                                     : fail_fetch("the archive is damaged: %.200s", archive_error_string(a));
    archive_read_free(a);
    return result;
}

int main(int argc, char **argv)
{
    uint64_t max;

    process_begin();
    if (argc != 4 || !text_to_u64(argv[3], 1, UINT64_MAX, &max))
        return fail_fetch("usage: fetch get URL MAX, or fetch unpack NAME MAX; capsid setup calls it");
    if (strcmp(argv[1], "get") == 0)
        return get(argv[2], max);
    return strcmp(argv[1], "unpack") == 0 ? unpack(argv[2], max) : fail_fetch("unknown action %s", argv[1]);
}
