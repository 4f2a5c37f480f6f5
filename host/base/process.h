/*
 * process: what every program of ours does before anything else, so that nothing depends on how it was started.
 *
 * The umask is one rule: each program sets it once, here, to 022, and every file, directory and node is made with the mode
 * that it is to have: 0600 and 0700 for what is its owner's, 0444 and 0755 for what a VM's user must reach. Nothing is made
 * with more than that, so neither a umask of 000 nor one of 077 makes a difference. What a user asked for by name
 * (an --output file) gets the mode that the user's own umask leaves.
 */
#ifndef CAPSID_PROCESS_H
#define CAPSID_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The first call of main(). Sets the umask. Where descriptor 0, 1 or 2 is closed, opens /dev/null in the direction in which
 * nobody uses it: the number is taken, so no other file gets it, and reading or writing fails (EBADF) as it would have.
 */
void process_begin(void);

/* Whether that descriptor can be read from: not one that was closed at the start, or open for writing only. */
bool process_can_read(int fd);

/* The mode of a new file that a user names: 0666 without what the umask of before process_begin() takes away. */
mode_t process_user_mode(void);

#endif
