/* vmm/: what the Firecracker driver asks for, in which order. */
#include "base/file.h"
#include "base/text.h"
#include "vmm/firecracker_requests.h"

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char root[64];
static struct error e;

/* A server that says yes to everything; refuse: but to this path. */
static struct server {
    pthread_t thread;
    int listener;
    char path[108];
    const char *refuse;
    struct buffer log; /* "METHOD PATH BODY", a line each */
} server;

/* Bytes of the first request in text, or 0 when it is not complete. Writes it to the log. */
static size_t take_request(char *text)
{
    char method[16], path[64], *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");

    if (!body)
        return 0;
    body += 4;
    size_t size = length && length < body ? strtoul(length + strlen("Content-Length: "), NULL, 10) : 0;
    if (strlen(body) < size)
        return 0;
    ck_assert_int_eq(sscanf(text, "%15s %63s", method, path), 2);
    buffer_add_text(&server.log, "%s %s %.*s\n", method, path, (int)size, body);
    return (size_t)(body - text) + size;
}

static bool is_refused(void)
{
    const char *line = server.log.data + server.log.size - 1; /* the last one's newline */

    while (line > server.log.data && line[-1] != '\n')
        line--;
    return server.refuse && strstr(line, server.refuse);
}

static void *serve(void *argument)
{
    static const char good[] = "HTTP/1.1 204 No Content\r\n\r\n",
                      bad[] =
                          "HTTP/1.1 400 Bad Request\r\nContent-Length: 22\r\n\r\n{\"fault_message\":\"no\"}";
    int fd = accept(server.listener, NULL, NULL);
    char text[8192] = "";
    size_t size = 0, taken;
    ssize_t n;

    (void)argument;
    while ((n = read(fd, text + size, sizeof(text) - 1 - size)) > 0) {
        size += (size_t)n;
        text[size] = '\0';
        while ((taken = take_request(text)) > 0) {
            memmove(text, text + taken, size - taken + 1);
            size -= taken;
            const char *answer = is_refused() ? bad : good;
            if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
                break;
        }
    }
    close(fd);
    return NULL;
}

static void setup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    e = (struct error){0};
    strcpy(root, "/tmp/capsid-requests-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    server = (struct server){0};
    snprintf(server.path, sizeof(server.path), "%s/api", root);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    server.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(server.listener, 4), 0);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void teardown(void)
{
    close(server.listener);
    buffer_free(&server.log);
    file_remove_tree(root, &e);
}

static struct firecracker_api open_api(void)
{
    return (struct firecracker_api){
        .socket = server.path, .vmm_pidfd = -1, .deadline = deadline_in_ms(20000)};
}

/* Ends the connection; then the log is complete. */
static void end(struct firecracker_api *a)
{
    firecracker_api_close(a);
    pthread_join(server.thread, NULL);
}

static int boot(const char *disk, const char *kernel_args)
{
    struct firecracker_api a = open_api();
    const struct vm_spec spec = {
        .kernel_args = kernel_args, .shape.memory_mib = 200, .shape.vcpus = 2, .disk_fd = -1, .disk = disk};
    int result = firecracker_boot(&a, &spec, &e);

    end(&a);
    return result;
}

static size_t count(const char *text)
{
    size_t n = 0;

    for (const char *p = server.log.data; (p = strstr(p, text)); p++)
        n++;
    return n;
}

#define UPPER                                                                                                \
    "PUT /drives/upper {\"drive_id\":\"upper\",\"path_on_host\":\"disk\",\"is_root_device\":false,"          \
    "\"is_read_only\":false,\"cache_type\":\"Unsafe\"}\n"

START_TEST(boots_with_a_disk_in_the_jail)
{
    ck_assert_msg(boot("/somewhere/else/disk-12", "debug") == 0, "%s", e.text);
    const char *root_drive = strstr(server.log.data, "PUT /drives/root "),
               *upper = strstr(server.log.data, UPPER), *start = strstr(server.log.data, "PUT /actions ");
    ck_assert_msg(root_drive && upper && start && root_drive < upper && upper < start, "%s", server.log.data);
    ck_assert_uint_eq(count("initd.upper="), 1);
    ck_assert_msg(count(" initd.upper=vdb debug\"}") == 1, "%s", server.log.data);
    ck_assert_uint_eq(count("somewhere"), 0);
}
END_TEST

START_TEST(boots_without_a_disk)
{
    ck_assert_msg(boot(NULL, "") == 0, "%s", e.text);
    ck_assert_uint_eq(count("PUT /drives/"), 1);
    ck_assert_uint_eq(count("\"is_read_only\":true"), 1);
    ck_assert_uint_eq(count("initd.upper"), 0);
    ck_assert_uint_eq(count("\"mem_size_mib\":200"), 1);
    ck_assert_uint_eq(count("\"vcpu_count\":2"), 1);
}
END_TEST

/* What Firecracker adds by itself: the root device, and a word for each of two drives and the vsock. It takes 2,048 bytes
 * with the NUL at the end. */
START_TEST(the_longest_arguments_leave_room_for_what_is_added)
{
    static char words[CONFIG_KERNEL_ARGS_MAX + 1];
    const size_t added =
        strlen(" root=/dev/vda ro") + 3 * strlen(" virtio_mmio.device=4K@0x00000000c0001000:12");

    memset(words, 'x', sizeof(words) - 1);
    ck_assert_msg(boot("/somewhere/disk-12", words) == 0, "%s", e.text);
    const char *start = strstr(server.log.data, "\"boot_args\":\"");
    ck_assert_ptr_nonnull(start);
    start += strlen("\"boot_args\":\"");
    ck_assert_uint_lt(strcspn(start, "\"") + added, 2048);
}
END_TEST

START_TEST(does_not_start_without_the_disk)
{
    server.refuse = "/drives/upper";
    ck_assert_int_eq(boot("disk-12", ""), -1);
    ck_assert_msg(strstr(e.text, "PUT /drives/upper: no (status 400)"), "%s", e.text);
    ck_assert_uint_eq(count("PUT /actions"), 0);
}
END_TEST

/* The paths that a snapshot was made with are what it has; only the socket's can be told, and since 1.16. */
START_TEST(loads_what_the_version_knows)
{
    const struct firecracker_version version = {.major = 1, .minor = _i ? 16 : 15};
    struct firecracker_api a = open_api();

    ck_assert_msg(firecracker_load(&a, &version, &e) == 0, "%s", e.text);
    end(&a);
    ck_assert_str_eq(server.log.data,
                     _i ? "PUT /snapshot/load {\"snapshot_path\":\"state\",\"mem_backend\":{\"backend_type\":"
                          "\"File\",\"backend_path\":\"memory\"},\"resume_vm\":true,\"vsock_override\":"
                          "{\"uds_path\":\"vsock\"}}\n"
                        : "PUT /snapshot/load {\"snapshot_path\":\"state\",\"mem_backend\":{\"backend_type\":"
                          "\"File\",\"backend_path\":\"memory\"},\"resume_vm\":true}\n");
}
END_TEST

START_TEST(pauses_before_it_saves)
{
    struct firecracker_api a = open_api();

    ck_assert_msg(firecracker_save(&a, &e) == 0, "%s", e.text);
    end(&a);
    ck_assert_str_eq(server.log.data,
                     "PATCH /vm {\"state\":\"Paused\"}\n"
                     "PUT /snapshot/create {\"snapshot_type\":\"Full\",\"snapshot_path\":\"state\","
                     "\"mem_file_path\":\"memory\"}\n");
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("firecracker_requests");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, boots_with_a_disk_in_the_jail);
    unit_add(&u, boots_without_a_disk);
    unit_add(&u, the_longest_arguments_leave_room_for_what_is_added);
    unit_add(&u, does_not_start_without_the_disk);
    unit_add_loop(&u, loads_what_the_version_knows, 2);
    unit_add(&u, pauses_before_it_saves);
    return unit_end(&u);
}
