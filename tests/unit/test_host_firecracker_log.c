/* vmm/: which line of what Firecracker and its jailer print tells why they ended. */
#include "base/cleanup.h"
#include "vmm/firecracker_log.h"
#include "vmm/vmm_log.h"

#include "unit.h"

#include <unistd.h>

static struct error e;

#define AT "2026-11-29T19:15:25.123456789 [vm-abc:main] "
#define EXIT AT "Firecracker exiting with error. exit_code=1\n"

/* As the real ones print it, and what is to be told. */
static const struct {
    const char *printed, *wanted;
} endings[] = {
    {AT "Running Firecracker v1.16.1\n" AT "RunWithApiError error: Failed to open the API socket at: api.\n"
        "Error: RunWithApi(FailedToBindSocket(\"api\"))\n" EXIT,
     "RunWithApiError error: Failed to open the API socket at: api."},
    {AT "Arguments parsing error: Found argument 'x' which wasn't expected.\n"
        "Error: ParseArguments(UnexpectedArgument(\"x\"))\n" EXIT,
     "Arguments parsing error: Found argument 'x' which wasn't expected."},
    {AT "Firecracker panicked at src/vmm/src/lib.rs:1:2:\nit is so\nnote: run with `RUST_BACKTRACE=1`\n",
     "it is so"},
    {"Failed to create directory /a/root: Permission denied (os error 13)\n"
     "Error: CreateDir(\"/a/root\", Os { code: 13 })\n",
     "Failed to create directory /a/root: Permission denied (os error 13)"},
    {"Warning! Could not create /dev/urandom\na\x1b[31mb\n", "a?[31mb"},
    {EXIT, "Firecracker exiting with error. exit_code=1"},
    {"Error: Only(This)\n", "Error: Only(This)"},
    {"1 of [2] three\n", "1 of [2] three"},
    {"2026 ends with a bracket] ", "2026 ends with a bracket]"},
    {"\n \n", ""},
    {"", ""},
};

START_TEST(chooses_the_line_with_the_reason)
{
    char *text = text_copy(endings[_i].printed);

    ck_assert_str_eq(firecracker_log_choose(text), endings[_i].wanted);
    free(text);
}
END_TEST

START_TEST(the_log_keeps_to_its_size)
{
    static const char flood[8192] = {[0 ... sizeof(flood) - 1] = 'x'}, last[] = "\nthe end\n";
    cleanup_fd int fd = vmm_log_open(&e);
    cleanup_buffer struct buffer reason = {0};
    int written = 0;

    ck_assert_int_ge(fd, 0);
    firecracker_log_reason(fd, &reason);
    firecracker_log_reason(-1, &reason);
    ck_assert_uint_eq(reason.size, 0);
    ck_assert_int_eq(write(fd, flood, sizeof(flood)), sizeof(flood));
    ck_assert_int_eq(write(fd, last, sizeof(last) - 1), sizeof(last) - 1);
    firecracker_log_reason(fd, &reason);
    ck_assert_str_eq(reason.data, "the end");
    while (written < 100 && write(fd, flood, sizeof(flood)) > 0)
        written++;
    ck_assert_int_lt(written, 8);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("firecracker_log");

    unit_add_loop(&u, chooses_the_line_with_the_reason, sizeof(endings) / sizeof(endings[0]));
    unit_add(&u, the_log_keeps_to_its_size);
    return unit_end(&u);
}
