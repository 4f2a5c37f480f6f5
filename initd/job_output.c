#include "job_output.h"

#include "sys.h"

static void exceed_limit(struct job *j)
{
    sys_close(&j->io.out[0].fd);
    sys_close(&j->io.out[1].fd);
    j->cause = 0; /* the output is cut short whatever else happens, so this has to be the cause */
    job_kill(j, PROTO_CAUSE_OUTPUT);
}

/* EXIT may still be on its way, or have got lost with the connection. Its host has it when it has consumed, of the same
 * connection, output of another job that was sent after it. */
static bool knows_end(const struct job *other, const struct job *ended)
{
    return ended->told && ended->told == other->conn && other->io.out[0].ring.start > other->unproven;
}

/* Takes the large ring from a job that has told all; what it still holds for an ATTACH goes into its own ring
 * or, where that is too small, the job is forgotten, if its host needs it no more. */
static void take_large_ring(struct job *owner, const struct job *taker)
{
    if (channels_shrink(&owner->io) || !knows_end(taker, owner))
        return;
    if (!job_lives(owner)) {
        job_free(owner);
        return;
    }
    ring_consume(&owner->io.out[0].ring, owner->io.out[0].ring.end); /* what it has left needs the job */
    channels_shrink(&owner->io);
}

/* Standard output that its host has begun to take gets the large ring, if nobody needs it. */
static bool enlarge(struct job *j)
{
    const struct channels *large = channels_large_owner();
    struct job *owner = large ? job_at(large->slot) : NULL;

    if (owner == j || j->io.out[0].ring.start == 0)
        return false;
    if (owner && owner->state == JOB_FINISHED && owner->delivered && !owner->conn)
        take_large_ring(owner, j);
    return channels_enlarge(&j->io);
}

bool job_read(struct job *j, unsigned n)
{
    enum channel_news news = channels_read(&j->io, n);

    switch (news) {
    case CHANNEL_SILENT:
        return false;
    case CHANNEL_ENDED:
        return true;
    case CHANNEL_DESERTED: /* the first process still has it as /dev/tty, and would be hung up */
        if (j->reaped)
            sys_close(&j->io.out[n].fd);
        return j->reaped;
    case CHANNEL_EXCEEDED:
        exceed_limit(j);
        return true;
    case CHANNEL_CAME:
    case CHANNEL_FULL:
        break;
    }
    if (j->state == JOB_DRAINING)
        j->drain_deadline = sys_now() + JOB_DRAIN_MS * NS_PER_MS;
    if (news == CHANNEL_FULL && !(n == 0 && enlarge(j)))
        channels_pause(&j->io, n);
    return true;
}

void job_read_on(struct job *j)
{
    for (unsigned n = 0; n < 2; n++) {
        struct channel_out *o = &j->io.out[n];
        /* Not for every single byte; see LARGE_RING. */
        if (o->fd < 0 || o->watched || ring_free(&o->ring) < o->ring.capacity / 2)
            continue;
        /* A busy job fills the ring again at once, and need not be watched for that. */
        while (job_read(j, n)) {
        }
        if (o->fd >= 0 && ring_free(&o->ring) > 0)
            channels_watch_output(&j->io, n);
    }
}
