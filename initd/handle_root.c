#include "handle.h"

#include "file.h"
#include "kmsg.h"
#include "root.h"
#include "snapshot.h"
#include "text.h"

#include <string.h>

static bool awaits_root, is_sealed;

void handle_await_root(void)
{
    awaits_root = true;
    snapshot_await_root();
}

bool handle_root_awaited(void)
{
    return awaits_root;
}

bool handle_root_sealed(void)
{
    return is_sealed;
}

/* TYPE:NAME; a device is a name in /dev, so it has no slash. */
static bool parse_layer_word(const char *word, struct root_layer *ret)
{
    static const char erofs[] = "erofs:", ext4[] = "ext4:";

    ret->ext4 = text_starts(word, ext4);
    if (!ret->ext4 && !text_starts(word, erofs))
        return false;
    word = strchr(word, ':') + 1;
    return *word && !strchr(word, '/') && text_join(ret->device, sizeof(ret->device), word, NULL) == 0;
}

static bool parse_plan(const struct msg_root *m, struct root_plan *ret)
{
    *ret = (struct root_plan){.bare = true};
    for (const char *s = wire_strs_next(m->layers, NULL); s; s = wire_strs_next(m->layers, s))
        if (ret->layer_count == LAYERS_MAX || !parse_layer_word(s, &ret->layers[ret->layer_count++]))
            return false;
    return ret->layer_count > 0 && !strchr(m->upper, '/') &&
           text_join(ret->upper, sizeof(ret->upper), m->upper, NULL) == 0;
}

static struct fault carry_out(const struct root_plan *plan)
{
    const char *step = "";
    int r = root_make(plan, &step);

    if (r == 0)
        r = root_enter(plan, &step);
    /* What it may lack is in ROOT_BASE: what a layer says that is gone is not made anew. */
    if (r < 0) {
        kmsg_log(KMSG_EMERG, "cannot make the root", step, r);
        return (struct fault){.code = PROTO_ERR_SETUP, .os_errno = -r, .text = step};
    }
    awaits_root = false;
    snapshot_place_machine_id();
    return FAULT_NONE;
}

/* Half a root is none. */
static void make_root(struct conn *c, uint32_t stream, const struct root_plan *plan)
{
    struct fault f = carry_out(plan);

    handle_answer(c, stream, MSG_ROOT, f);
    if (f.code)
        handle_set_up_failed(f);
}

void handle_root(struct conn *c, uint32_t stream, const struct msg_root *m)
{
    struct root_plan plan;

    if (!awaits_root)
        conn_send_error(c, stream, MSG_ROOT, PROTO_ERR_STATE, 0, "there is a root");
    else if (!parse_plan(m, &plan))
        conn_send_error(c, stream, MSG_ROOT, PROTO_ERR_INVALID, 0, "not layers and a disk");
    else
        make_root(c, stream, &plan);
}

void handle_changes(struct conn *c, uint32_t stream, const struct msg_changes *m)
{
    (void)m;
    CONN_SEND(c, changed, stream, &((struct msg_changed){.changed = root_is_changed()}));
}

/* Nothing else is answered meanwhile: there is nothing left to do in this guest. */
void handle_seal(struct conn *c, uint32_t stream, const struct msg_seal *m)
{
    if (!root_can_seal(m->fold)) {
        conn_send_error(c, stream, MSG_SEAL, PROTO_ERR_INVALID, 0, "no upper disk, or not as many layers");
    } else if (file_any_write()) {
        conn_send_error(c, stream, MSG_SEAL, PROTO_ERR_BUSY, 0, "a file is being written");
    } else {
        is_sealed = true;
        int r = root_seal(m->fold);
        handle_answer(c, stream, MSG_SEAL, r < 0 ? fault_os(r, "seal") : FAULT_NONE);
    }
}
