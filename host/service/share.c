#include "service/share.h"

#include "base/cleanup.h"
#include "base/text.h"

/* How much there is, of one owner or (NULL) of all. */
static int measure(const struct shelf *f, const struct share *s, const char *owner, int64_t *ret,
                   struct error *e)
{
    cleanup_free char *question =
        text_format("SELECT %s FROM %s%s", s->measure, s->table, owner ? " WHERE owner = ?" : "");

    return records_ask_number(f->records, question, owner ? RECORDS_VALUES(records_text(owner)) : NULL, ret,
                              e);
}

/* Drops the oldest of an owner; 0: there is none. */
static int drop_oldest(const struct shelf *f, const struct share *s, const char *owner, struct error *e)
{
    cleanup_free char *statement =
        text_format("%s WHERE number = (SELECT number FROM %s WHERE owner = ? AND ended IS NOT NULL AND %s"
                    " ORDER BY ended, number LIMIT 1)",
                    s->drop, s->table, s->worth);

    return shelf_drop(f, s->table, statement, RECORDS_VALUES(records_text(owner)), e);
}

/* The caller frees it; NULL: nobody has anything that may go, or an error. */
static char *find_greediest(const struct shelf *f, const struct share *s, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    cleanup_free char *question = text_format(
        "SELECT owner FROM %s WHERE ended IS NOT NULL AND %s GROUP BY owner ORDER BY %s DESC LIMIT 1",
        s->table, s->worth, s->measure);

    if (records_ask(&rows, f->records, question, NULL, e) < 0 || records_next(&rows, e) <= 0)
        return NULL;
    return text_copy(records_get_text(&rows, 0, NULL));
}

static int make_room_for_all(const struct shelf *f, const struct share *s, struct error *e)
{
    for (int64_t all;;) {
        if (measure(f, s, NULL, &all, e) < 0)
            return -1;
        if (all <= s->all_max)
            return 1;
        cleanup_free char *greediest = find_greediest(f, s, e);
        int dropped = greediest ? drop_oldest(f, s, greediest, e) : e->kind ? -1 : 0;
        if (dropped <= 0)
            return dropped;
    }
}

int share_make_room(const struct shelf *f, const struct share *s, const char *owner, struct error *e)
{
    for (int64_t own;;) {
        if (measure(f, s, owner, &own, e) < 0)
            return -1;
        if (own <= s->own_max)
            return make_room_for_all(f, s, e);
        int dropped = drop_oldest(f, s, owner, e);
        if (dropped <= 0)
            return dropped;
    }
}
