/* base/process: programs that are started with closed descriptors and strange umasks. */
#include "base/process.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child with these descriptors closed, after process_begin(): the exit status is what check gives. */
static int in_child(unsigned closed, mode_t mask, int (*check)(unsigned closed))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        for (int fd = 0; fd < 3; fd++)
            if (closed & 1u << fd)
                close(fd);
        umask(mask);
        process_begin();
        _exit(check(closed));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int check_descriptors(unsigned closed)
{
    char byte = 'x';
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (next < 3)
        return 1; /* a file of the program's own got the number */
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) != 0) /* open, and passed on to programs */
            return 10 + fd;
        if (!(closed & 1u << fd))
            continue;
        if ((fd == 0 ? read(fd, &byte, 1) : write(fd, &byte, 1)) != -1 || errno != EBADF)
            return 20 + fd;
    }
    return (closed & 1) && process_can_read(0) ? 30 : 0;
}

START_TEST(closed_descriptors_stay_unusable_and_taken)
{
    ck_assert_int_eq(in_child((unsigned)_i, 022, check_descriptors), 0);
}
END_TEST

static int check_mask(unsigned closed)
{
    char path[] = "/tmp/capsid-process-XXXXXX";
    struct stat st;

    (void)closed;
    if (!mkdtemp(path))
        return 1;
    char inner[64];
    snprintf(inner, sizeof(inner), "%s/inner", path);
    int result = mkdir(inner, 0755) < 0 || stat(inner, &st) < 0 ? 2 : (st.st_mode & 0777) != 0755;
    rmdir(inner);
    rmdir(path);
    return result;
}

START_TEST(modes_do_not_depend_on_the_umask_of_the_caller)
{
    static const mode_t masks[] = {0, 022, 027, 077, 0777};

    ck_assert_int_eq(in_child(0, masks[_i], check_mask), 0);
}
END_TEST

static int check_user_mode(unsigned closed)
{
    (void)closed;
    return process_user_mode() == 0640 ? 0 : 1;
}

START_TEST(the_umask_of_the_caller_is_kept_for_files_that_it_names)
{
    ck_assert_int_eq(in_child(0, 027, check_user_mode), 0);
}
END_TEST

START_TEST(what_can_be_read)
{
    int out = open("/dev/null", O_WRONLY | O_CLOEXEC), in = open("/dev/null", O_RDONLY | O_CLOEXEC),
        path = open("/", O_PATH | O_CLOEXEC);

    ck_assert(!process_can_read(out));
    ck_assert(process_can_read(in));
    ck_assert(!process_can_read(path));
    close(out);
    close(in);
    close(path);
    ck_assert(!process_can_read(path));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_process");

    unit_add_loop(&u, closed_descriptors_stay_unusable_and_taken, 8);
    unit_add_loop(&u, modes_do_not_depend_on_the_umask_of_the_caller, 5);
    unit_add(&u, the_umask_of_the_caller_is_kept_for_files_that_it_names);
    unit_add(&u, what_can_be_read);
    return unit_end(&u);
}
