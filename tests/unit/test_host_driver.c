/* vmm/: what drivers tell of their machines. A driver's description of its machine changes with the machine and with nothing else; snapshots rely on it. */
#include "base/cleanup.h"
#include "vmm/driver.h"

#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

static const struct vm_driver *const drivers[] = {&qemu_driver, &firecracker_driver};
#define DRIVERS ((int)(sizeof(drivers) / sizeof(drivers[0])))

static const struct vm_spec plain = {.vmm = "/usr/bin/vmm",
                                     .kernel = "/share/vmlinux",
                                     .kernel_args = "",
                                     .image = "/home/image",
                                     .shape.memory_mib = 128,
                                     .shape.vcpus = 1,
                                     .tsc_khz = 2000000,
                                     .accel = ACCEL_TCG,
                                     .disk_fd = -1};

static bool differ(const struct vm_driver *d, const struct vm_spec *one, const struct vm_spec *other)
{
    cleanup_buffer struct buffer a = {0}, b = {0};

    d->describe(one, &a);
    d->describe(other, &b);
    ck_assert_uint_gt(a.size, 100);
    return a.size != b.size || memcmp(a.data, b.data, a.size) != 0;
}

START_TEST(names_of_files_are_no_part_of_a_machine)
{
    struct vm_spec s = plain;

    s.vmm = "vmm";
    s.kernel = "/elsewhere/kernel";
    s.image = "/elsewhere/image";
    s.scratch = "/tmp";
    ck_assert(!differ(drivers[_i], &plain, &s));
}
END_TEST

START_TEST(neither_is_which_descriptor_the_disk_has)
{
    struct vm_spec one = plain, other = plain;

    one.disk_fd = 5;
    one.disk = "/tmp/a";
    other.disk_fd = 77;
    other.disk = "/tmp/b";
    ck_assert(!differ(drivers[_i], &one, &other));
    ck_assert(differ(drivers[_i], &plain, &one)); /* but that there is one */
}
END_TEST

START_TEST(what_the_guest_sees_is)
{
    struct vm_spec s = plain;

    s.shape.memory_mib = 256;
    ck_assert(differ(drivers[_i], &plain, &s));
    s = plain;
    s.shape.vcpus = 2;
    ck_assert(differ(drivers[_i], &plain, &s));
    s = plain;
    s.kernel_args = "quiet";
    ck_assert(differ(drivers[_i], &plain, &s));
}
END_TEST

START_TEST(the_processor_and_its_clock_are)
{
    struct vm_spec s = plain;

    s.accel = ACCEL_KVM;
    ck_assert(differ(&qemu_driver, &plain, &s));
    s = plain;
    s.tsc_khz = 3000000;
    ck_assert(differ(&qemu_driver, &plain, &s));
}
END_TEST

START_TEST(the_processor_that_is_emulated_is_named)
{
    cleanup_buffer struct buffer b = {0};

    qemu_driver.describe(&plain, &b);
    ck_assert_ptr_nonnull(memmem(b.data, b.size, "-cpu\0max,erms=off", 17));
}
END_TEST

/* Of qemu: what it says unasked, a line each. */
static bool stops(const char *said)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(send(pair[1], said, strlen(said), 0), (ssize_t)strlen(said));
    bool result = qemu_driver.stopped(pair[0]);
    ck_assert_int_eq(recv(pair[0], &(char){0}, 1, MSG_DONTWAIT), -1); /* it takes all */
    close(pair[0]);
    close(pair[1]);
    return result;
}

START_TEST(a_guest_that_qemu_stops_is_told_from_others)
{
    static const char other[] = "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": "
                                "\"VSERPORT_CHANGE\", \"data\": {\"open\": true, \"id\": \"STOP\"}}\r\n";
    static const char stop[] =
        "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\r\n";
    cleanup_free char *both = text_format("%s%s%s", other, stop, other);

    ck_assert(stops(stop));
    ck_assert(stops(both));
    ck_assert(!stops(other));
    ck_assert(!stops("\n\n{\"event\": {}}\n[\"STOP\"]\n\"event\"\n{\"event\": \"STOP\""));
}
END_TEST

START_TEST(a_qemu_that_has_ended_runs_no_guest)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert(!qemu_driver.stopped(pair[0]));
    close(pair[1]);
    ck_assert(qemu_driver.stopped(pair[0]));
    close(pair[0]);
}
END_TEST

START_TEST(addresses_are_random_unless_they_are_emulated)
{
    static const char word[] = " norandmaps";
    cleanup_buffer struct buffer emulated = {0}, kvm = {0};
    struct vm_spec s = plain;

    qemu_driver.describe(&s, &emulated);
    ck_assert_ptr_nonnull(memmem(emulated.data, emulated.size, word, strlen(word)));
    s.accel = ACCEL_KVM;
    qemu_driver.describe(&s, &kvm);
    ck_assert_ptr_null(memmem(kvm.data, kvm.size, word, strlen(word)));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("driver");

    unit_add_loop(&u, names_of_files_are_no_part_of_a_machine, DRIVERS);
    unit_add_loop(&u, neither_is_which_descriptor_the_disk_has, DRIVERS);
    unit_add_loop(&u, what_the_guest_sees_is, DRIVERS);
    unit_add(&u, the_processor_and_its_clock_are);
    unit_add(&u, the_processor_that_is_emulated_is_named);
    unit_add(&u, a_guest_that_qemu_stops_is_told_from_others);
    unit_add(&u, a_qemu_that_has_ended_runs_no_guest);
    unit_add(&u, addresses_are_random_unless_they_are_emulated);
    return unit_end(&u);
}
